//! One disk or attachment, from the vault into a file.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tresor_model::{Extent, StreamRecord};
use tresor_vault::{ExtentKind, Fetch, Piece, StreamReader, Vault};

use super::{
    ImageFormat,
    file::{ImageFile, Writes},
    holder,
    journal::Journal,
    qcow2,
};
use crate::{Error, ErrorKind};

/// Data is made durable and noted in windows of this many bytes.
const WINDOW: u64 = 64 << 20;

/// Reads of the vault that are under way at once, for each of two windows.
const FETCHES: usize = 4;

/// Where a stream goes.
#[derive(Debug, Clone)]
pub struct Target {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: ImageFormat,
    /// Whether a file of this name may be replaced (when the restore is whole).
    pub overwrite: bool,
}

/// Counts for whoever watches a restore.
#[derive(Debug, Default)]
pub struct RestoreProgress {
    /// Bytes of the disk that were passed over.
    pub done: AtomicU64,
    /// Bytes of data that were read from the vault, verified and written.
    pub written: AtomicU64,
    /// Bytes that an earlier, interrupted restore had done.
    pub resumed: AtomicU64,
}

/// Restores a stream: every chunk verified, holes left where it is zero, durable when it returns.
///
/// # Errors
/// The target is untouched; what was written so far lies in `<target>.partial` and is used by the
/// next try.
pub async fn restore_stream(
    vault: &Vault,
    stream: &StreamRecord,
    target: &Target,
    progress: &RestoreProgress,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let file_error = |path: &Path| {
        let path = path.to_owned();
        move |error| Error::new(ErrorKind::File { path, error }, &stream.name)
    };
    check_target(target).map_err(|kind| Error::new(kind, &stream.name))?;
    let partial = with_suffix(&target.path, ".partial");
    let file = lock_partial(&partial).map_err(file_error(&partial))?;
    let file = file.ok_or_else(|| {
        let holder = "another restore".to_owned();
        let path = partial.clone();
        Error::new(ErrorKind::TargetInUse { path, holder }, &stream.name)
    })?;
    let journal =
        begin_partial(&file, &partial, stream, target.format).map_err(file_error(&partial))?;
    let file = ImageFile::over(file, &partial);
    let reader = vault
        .reader(stream)
        .map_err(|error| Error::new(ErrorKind::Vault(error), &stream.name))?;
    let image = Image {
        file,
        path: &partial,
        format: target.format,
        stream,
        reader,
    };

    let (done, ahead): (Vec<_>, Vec<_>) =
        windows_of(stream.size).partition(|window| journal.is_done(window.start));
    let resumed = done.iter().map(|window| window.length).sum();
    progress.resumed.store(resumed, Ordering::Relaxed);
    let mut ahead = ahead.into_iter();
    let fetch = |window: Extent| (window, image.reader.fetch(window, FETCHES));
    let mut noting = Noting::Idle(journal);
    let mut current = ahead.next().map(fetch);
    while let Some((window, pieces)) = current {
        // The next window is read while this one is written, and made durable while the next one is.
        current = ahead.next().map(fetch);
        if image.write_window(pieces, progress, cancel).await? {
            let noted = noting.begin(&image.file, window.start).await;
            noting = noted.map_err(file_error(&partial))?;
        }
        progress.done.store(window.end(), Ordering::Relaxed);
    }
    let journal = noting.end().await.map_err(file_error(&partial))?;
    progress.done.store(stream.size, Ordering::Relaxed);
    image.write_metadata().await?;
    // Hours may have passed: somebody may have made the file meanwhile, or started a VM on it.
    check_target(target).map_err(|kind| Error::new(kind, &stream.name))?;
    take_over_owner(image.file.file(), &target.path);
    let publish = || -> io::Result<()> {
        image.file.sync_all()?;
        fs::rename(&partial, &target.path)?;
        journal.finish()?;
        File::open(parent(&target.path))?.sync_all()
    };
    publish().map_err(file_error(&target.path))
}

fn check_target(target: &Target) -> Result<(), ErrorKind> {
    let path = target.path.clone();
    match holder(&path) {
        Err(error) => Err(ErrorKind::File { path, error }),
        Ok(Some(holder)) => Err(ErrorKind::TargetInUse { path, holder }),
        Ok(None) if !target.overwrite && path.exists() => Err(ErrorKind::TargetExists(path)),
        Ok(None) => Ok(()),
    }
}

/// Opens the half-written image, or makes one, for this restore alone; `None` when another one has
/// it. Two that wrote into one file would give an image of neither's content.
fn lock_partial(partial: &Path) -> io::Result<Option<File>> {
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
fn begin_partial(
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
fn take_over_owner(file: &File, replaced: &Path) {
    let Ok(before) = fs::metadata(replaced) else {
        return; // there is none
    };
    let taken = fchown(file, Some(before.uid()), Some(before.gid()))
        .and_then(|()| file.set_permissions(before.permissions()));
    if let Err(error) = taken {
        tracing::warn!(path = %replaced.display(), %error, "owner and mode are not taken over");
    }
}

/// The windows of a disk.
fn windows_of(size: u64) -> impl Iterator<Item = Extent> {
    let starts = (0..size.div_ceil(WINDOW)).map(|number| number * WINDOW);
    starts.map(move |start| Extent::between(start, size.min(start + WINDOW)))
}

/// The journal, and the window that is made durable and noted right now.
enum Noting {
    Idle(Journal),
    Busy(JoinHandle<io::Result<Journal>>),
}

impl Noting {
    /// Waits for the window before, then begins with this one.
    async fn begin(self, file: &ImageFile, window: u64) -> io::Result<Self> {
        let mut journal = self.end().await?;
        let file = file.clone();
        Ok(Self::Busy(tokio::task::spawn_blocking(move || {
            file.sync_data()?;
            journal.note(window)?;
            Ok(journal)
        })))
    }

    async fn end(self) -> io::Result<Journal> {
        match self {
            Self::Idle(journal) => Ok(journal),
            Self::Busy(noting) => noting.await.map_err(io::Error::other)?,
        }
    }
}

struct Image<'a> {
    path: &'a Path,
    file: ImageFile,
    format: ImageFormat,
    stream: &'a StreamRecord,
    reader: StreamReader,
}

impl Image<'_> {
    /// Writes the data of a window; says whether there was any.
    async fn write_window(
        &self,
        mut pieces: Fetch,
        progress: &RestoreProgress,
        cancel: &CancellationToken,
    ) -> Result<bool, Error> {
        let base = self.format.data_start(self.stream.size);
        let mut writes = Writes::into(self.file.clone());
        let mut any = false;
        loop {
            let piece = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    return Err(Error::new(ErrorKind::Cancelled, &self.stream.name));
                }
                piece = pieces.next() => piece,
            };
            let Some(piece) = piece else { break };
            let Piece { offset, bytes } = piece.map_err(|error| self.vault_error(error))?;
            let length = bytes.len() as u64;
            let written = writes.begin(bytes, base + offset).await;
            written.map_err(|error| self.file_error(error))?;
            progress.written.fetch_add(length, Ordering::Relaxed);
            any = true;
        }
        let written = writes.end().await;
        written.map_err(|error| self.file_error(error))?;
        Ok(any)
    }

    /// Writes what makes the file an image of its format.
    async fn write_metadata(&self) -> Result<(), Error> {
        if self.format == ImageFormat::Raw {
            return Ok(());
        }
        let mut metadata = qcow2::Metadata::new(self.stream.size);
        for table in 0..self.stream.size.div_ceil(qcow2::L2_SPAN) {
            let start = table * qcow2::L2_SPAN;
            let window = Extent::between(start, self.stream.size.min(start + qcow2::L2_SPAN));
            let extents = self.reader.extents(window).await;
            let extents = extents.map_err(|error| self.vault_error(error))?;
            let data: Vec<_> = extents
                .into_iter()
                .filter(|(_, kind)| *kind == ExtentKind::Data)
                .map(|(extent, _)| (extent.start, extent.end()))
                .collect();
            if let Some((at, bytes)) = metadata.l2_table(table, &data) {
                self.file
                    .write_at(&bytes, at)
                    .map_err(|error| self.file_error(error))?;
            }
        }
        let file = &self.file;
        let write = |metadata: &mut qcow2::Metadata| -> io::Result<()> {
            let (at, bytes) = metadata.l1_table();
            file.write_at(&bytes, at)?;
            for (at, bytes) in metadata.refcounts() {
                file.write_at(&bytes, at)?;
            }
            file.sync_data()?;
            file.write_at(&metadata.header(), 0)
        };
        write(&mut metadata).map_err(|error| self.file_error(error))
    }

    fn vault_error(&self, error: tresor_vault::Error) -> Error {
        Error::new(ErrorKind::Vault(error), &self.stream.name)
    }

    fn file_error(&self, error: io::Error) -> Error {
        let path = self.path.to_owned();
        Error::new(ErrorKind::File { path, error }, &self.stream.name)
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
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
            size: 2 * WINDOW,
            root: None,
        };
        let begin = |file: &File| begin_partial(file, &partial, &stream, ImageFormat::Raw).unwrap();
        let file = lock_partial(&partial).unwrap().unwrap();
        begin(&file).note(0).unwrap();
        assert!(begin(&file).is_done(0), "goes on");
        file.set_len(0).unwrap();
        assert!(!begin(&file).is_done(0), "begins anew");
        assert_eq!(file.metadata().unwrap().len(), 2 * WINDOW);
    }
}
