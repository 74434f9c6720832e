//! Files with secrets: read with care, published without a moment at which half of one is there.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{Error, ErrorKind, Result};

/// Larger files are refused. A chain of certificates with its key is some 10 KiB.
pub const MAX_FILE: u64 = 256 << 10;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// Its owner only: it holds a private key.
    Private,
    /// Everybody.
    Public,
}

impl Secrecy {
    const fn mode(self) -> u32 {
        match self {
            Self::Private => 0o600,
            Self::Public => 0o644,
        }
    }
}

/// Reads a whole file. What is private must belong to us or root, and be readable by its owner only.
///
/// # Errors
/// [`ErrorKind::Missing`], [`ErrorKind::Unreadable`], [`ErrorKind::ReadableByOthers`],
/// [`ErrorKind::TooLarge`].
pub(crate) fn read(path: &Path, secrecy: Secrecy) -> Result<Zeroizing<Vec<u8>>> {
    let unreadable = |error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::Missing,
            _ => ErrorKind::Unreadable,
        };
        Error::new(kind, path, format!("cannot be read ({error})")).caused_by(error)
    };
    let file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if secrecy == Secrecy::Private {
        judge_private(path, meta.mode() & 0o777, meta.uid())?;
    }
    // Room from the start: a buffer that grows leaves copies of a key behind.
    let room = usize::try_from(meta.len().min(MAX_FILE)).unwrap_or(0) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        let what = format!("is larger than {MAX_FILE} bytes");
        return Err(Error::new(ErrorKind::TooLarge, path, what));
    }
    Ok(bytes)
}

fn judge_private(path: &Path, mode: u32, owner: u32) -> Result<()> {
    let us = rustix::process::geteuid().as_raw();
    let what = if mode & 0o077 != 0 {
        format!("holds a private key and has mode {mode:04o}: others may read it")
    } else if owner != us && owner != 0 {
        format!("holds a private key and belongs to user {owner}, not to us ({us}) or root")
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::ReadableByOthers, path, what))
}

/// What became of [`publish_new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    /// Our bytes are there.
    Ours,
    /// Somebody else was first; theirs are there.
    Theirs,
}

/// Makes a file that must not be there yet: whole and durable, or not at all. Of several that try
/// at once exactly one wins.
///
/// # Errors
/// [`ErrorKind::Unwritable`].
pub(crate) fn publish_new(path: &Path, bytes: &[u8], secrecy: Secrecy) -> Result<Published> {
    let temp = Temp::write(path, bytes, secrecy)?;
    // link(2) is atomic, never overwrites, and works on NFS as well.
    let outcome = match fs::hard_link(&temp.path, path) {
        Ok(()) => Published::Ours,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Published::Theirs,
        Err(error) => return Err(unwritable(path, error)),
    };
    sync_dir(path)?;
    Ok(outcome)
}

/// What became of a file that was to be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutBack {
    /// It is there.
    Done,
    /// Another one is, and it was left alone.
    OtherIsThere,
}

/// Puts a file of an identity back from a backup, with its directory: one that ends in `.key` for its owner
/// only. A different one that is there is only replaced with `replace`.
///
/// # Errors
/// [`ErrorKind::Unwritable`]; when what is there cannot be read.
pub fn put_back(path: &Path, bytes: &[u8], replace: bool) -> Result<PutBack> {
    let secrecy = match path.extension().is_some_and(|end| end == "key") {
        true => Secrecy::Private,
        false => Secrecy::Public,
    };
    if let Some(dir) = path.parent() {
        make_dir(dir)?;
    }
    if replace {
        self::replace(path, bytes, secrecy)?;
        return Ok(PutBack::Done);
    }
    match publish_new(path, bytes, secrecy)? {
        Published::Theirs if *read(path, secrecy)? != bytes => Ok(PutBack::OtherIsThere),
        Published::Ours | Published::Theirs => Ok(PutBack::Done),
    }
}

/// Replaces a file, or makes it: a reader sees the old bytes or the new ones.
///
/// # Errors
/// [`ErrorKind::Unwritable`].
pub(crate) fn replace(path: &Path, bytes: &[u8], secrecy: Secrecy) -> Result<()> {
    let temp = Temp::write(path, bytes, secrecy)?;
    fs::rename(&temp.path, path).map_err(|error| unwritable(path, error))?;
    sync_dir(path)
}

/// Makes the directory for secrets, for its owner only, if it is not there.
///
/// # Errors
/// [`ErrorKind::Unwritable`].
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir);
    made.map_err(|error| unwritable(dir, error))
}

/// A temporary file beside its target; gone when dropped, whatever happened.
struct Temp {
    path: PathBuf,
}

impl Temp {
    fn write(target: &Path, bytes: &[u8], secrecy: Secrecy) -> Result<Self> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|error| Error::crypto("the system gives no random numbers", error))?;
        let random = u64::from_le_bytes(random);
        let path = target.with_file_name(format!(".{name}.{random:016x}"));
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(secrecy.mode())
                .open(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        let written = write();
        // From here on it is removed on every way out.
        let temp = Self { path };
        written.map_err(|error| unwritable(target, error))?;
        Ok(temp)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // After a rename it is not there any more.
        drop(fs::remove_file(&self.path));
    }
}

fn sync_dir(path: &Path) -> Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| unwritable(path, error))
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::new(
        ErrorKind::Unwritable,
        path,
        format!("cannot be written ({error})"),
    )
    .caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_first_one_wins_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.key");
        assert_eq!(
            publish_new(&path, b"1", Secrecy::Private).unwrap(),
            Published::Ours
        );
        assert_eq!(
            publish_new(&path, b"2", Secrecy::Private).unwrap(),
            Published::Theirs
        );
        assert_eq!(&*read(&path, Secrecy::Private).unwrap(), b"1");
        replace(&path, b"3", Secrecy::Private).unwrap();
        assert_eq!(&*read(&path, Secrecy::Private).unwrap(), b"3");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_others_may_read_is_refused_as_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.key");
        publish_new(&path, b"1", Secrecy::Public).unwrap();
        assert!(read(&path, Secrecy::Public).is_ok());
        for mode in [0o640, 0o604, 0o644, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path, Secrecy::Private).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ReadableByOthers, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(read(&path, Secrecy::Private).is_ok());
    }

    #[test]
    fn what_is_missing_or_huge_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let missing = read(&path, Secrecy::Public).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::Missing);
        fs::write(&path, vec![0; usize::try_from(MAX_FILE).unwrap() + 1]).unwrap();
        assert_eq!(
            read(&path, Secrecy::Public).unwrap_err().kind(),
            ErrorKind::TooLarge
        );
        let is_dir = read(dir.path(), Secrecy::Public).unwrap_err();
        assert_eq!(is_dir.kind(), ErrorKind::Unreadable);
    }

    #[test]
    fn somebody_elses_key_is_not_ours() {
        let path = Path::new("k");
        let us = rustix::process::geteuid().as_raw();
        assert!(judge_private(path, 0o600, us).is_ok());
        assert!(judge_private(path, 0o600, 0).is_ok());
        assert!(judge_private(path, 0o600, us + 1).is_err());
    }
}
