//! The half-written image, `<target>.partial`: one restore has it at a time.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use tresor_model::StreamRecord;

use super::{ImageFormat, image::parent, journal::Journal};

/// Opens the half-written image, or makes one, for this restore alone; `None` when another one has
/// it. Two that wrote into one file would give an image of neither's content.
pub(super) fn lock_partial(partial: &Path) -> io::Result<Option<File>> {
    fs::create_dir_all(parent(partial))?;
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600) // it is as secret as the guest
            .open(partial)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            // A file system without such locks.
            Err(error) => tracing::debug!(%error, "a half-written image cannot be locked"),
        }
        // Its restore may have ended between the two calls: then it is the image, and whole.
        let opened = file.metadata()?;
        match fs::metadata(partial) {
            Ok(there) if (there.dev(), there.ino()) == (opened.dev(), opened.ino()) => {
                return Ok(Some(file));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

/// Goes on with the half-written image when its journal is about the same content, else begins it
/// anew.
pub(super) fn begin_partial(
    file: &File,
    partial: &Path,
    stream: &StreamRecord,
    format: ImageFormat,
) -> io::Result<Journal> {
    let root = stream.root.as_ref().map_or("zero", |root| root.id.as_str());
    let subject = format!("tresor restore 1 {root} {} {format}", stream.size);
    // A journal beside an image that holds nothing yet is that of another one, which is gone.
    let known = if file.metadata()?.len() > 0 {
        Journal::open(partial, &subject)?
    } else {
        None
    };
    let journal = match known {
        Some(journal) => journal,
        None => {
            Journal::discard(partial)?;
            file.set_len(0)?;
            Journal::open(partial, &subject)?
                .ok_or_else(|| io::Error::other("the restore's journal changed under it"))?
        }
    };
    file.set_len(format.file_size(stream.size))?;
    Ok(journal)
}

/// An image that replaces one belongs to whom that one belonged: the user that QEMU runs as, perhaps.
/// Where that is not allowed, it stays with who restores.
pub(super) fn take_over_owner(file: &File, replaced: &Path) {
    let Ok(before) = fs::metadata(replaced) else {
        return; // there is none
    };
    let taken = fchown(file, Some(before.uid()), Some(before.gid()))
        .and_then(|()| file.set_permissions(before.permissions()));
    if let Err(error) = taken {
        tracing::warn!(path = %replaced.display(), %error, "owner and mode are not taken over");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_written_image_belongs_to_one_restore() {
        let dir = tempfile::tempdir().unwrap();
        let partial = dir.path().join("vda.raw.partial");
        let file = lock_partial(&partial).unwrap().unwrap();
        assert!(lock_partial(&partial).unwrap().is_none());
        // Published, it is out of the next one's reach.
        fs::rename(&partial, dir.path().join("vda.raw")).unwrap();
        let next = lock_partial(&partial).unwrap().unwrap();
        drop(file);
        let (one, other) = (
            next.metadata().unwrap(),
            fs::metadata(dir.path().join("vda.raw")),
        );
        assert_ne!(one.ino(), other.unwrap().ino());
    }

    #[test]
    fn an_image_is_private_unless_the_one_before_was_not() {
        let dir = tempfile::tempdir().unwrap();
        let partial = dir.path().join("vda.raw.partial");
        let file = lock_partial(&partial).unwrap().unwrap();
        let mode = |file: &File| file.metadata().unwrap().mode() & 0o777;
        let target = dir.path().join("vda.raw");
        take_over_owner(&file, &target);
        assert_eq!(mode(&file), 0o600);
        let before = File::create(&target).unwrap();
        before
            .set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o640))
            .unwrap();
        take_over_owner(&file, &target);
        assert_eq!(mode(&file), 0o640);
    }

    #[test]
    fn only_a_journal_beside_its_image_counts() {
        let dir = tempfile::tempdir().unwrap();
        let partial = dir.path().join("vda.raw.partial");
        let stream = StreamRecord {
            name: tresor_model::StreamName::new("vda").unwrap(),
            size: 128 << 20,
            root: None,
        };
        let begin = |file: &File| begin_partial(file, &partial, &stream, ImageFormat::Raw).unwrap();
        let file = lock_partial(&partial).unwrap().unwrap();
        begin(&file).note(0).unwrap();
        assert!(begin(&file).is_done(0), "goes on");
        file.set_len(0).unwrap();
        assert!(!begin(&file).is_done(0), "begins anew");
        assert_eq!(file.metadata().unwrap().len(), 128 << 20);
    }
}
