//! A directory tree by system calls: blocking, no runtime.
//!
//! Every path is walked from the root's descriptor, a segment at a time, links not followed:
//! whatever stands in the directory, no call leaves it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::{self, Errno};

use super::direct;
use super::fs::{Content, Entry, FileKind, Leftover, Published};
use super::paths::parent_of;
use crate::Part;

/// Where temporary files are. Object names have no segment with a leading dot.
pub(super) const TEMP_DIR: &str = ".tmp";
/// How temporary files' names begin; `sweep` touches no others.
const TEMP_PREFIX: &str = "put-";

const DIR_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// An open temporary file and its name below [`TEMP_DIR`].
#[derive(Debug)]
pub(super) struct TempFile {
    pub(super) name: String,
    fd: OwnedFd,
}

fn leaf_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, leaf)| leaf)
}

/// Opens a directory below `root`.
fn open_dir(root: BorrowedFd<'_>, dir: &str) -> io::Result<OwnedFd> {
    let mut at = fs::openat(root, ".", DIR_FLAGS, Mode::empty())?;
    for segment in dir.split('/').filter(|segment| !segment.is_empty()) {
        at = fs::openat(&at, segment, DIR_FLAGS, Mode::empty())?;
    }
    Ok(at)
}

/// Opens the temporary files' directory, and makes it if need be. It is never synced: losing it
/// loses only leftovers.
fn open_temp_dir(root: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    match open_dir(root, TEMP_DIR) {
        Err(Errno::NOENT) => {
            make_one(root, TEMP_DIR)?;
            open_dir(root, TEMP_DIR)
        }
        other => other,
    }
}

fn make_one(parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

pub(super) fn create_temp(root: BorrowedFd<'_>, name: &str) -> io::Result<TempFile> {
    let dir = open_temp_dir(root)?;
    let name = format!("{TEMP_PREFIX}{name}");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = fs::openat(&dir, &name, flags, Mode::RUSR | Mode::WUSR)?;
    Ok(TempFile { name, fd })
}

pub(super) fn write(temp: &TempFile, body: &[u8]) -> io::Result<()> {
    let mut rest = &body[direct::write(&temp.fd, body)?..];
    while !rest.is_empty() {
        match io::write(&temp.fd, rest) {
            // Not in POSIX for files; a loop without end if it happened.
            Ok(0) => return Err(Errno::IO),
            Ok(done) => rest = &rest[done..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

pub(super) fn sync_file(temp: &TempFile) -> io::Result<()> {
    fs::fsync(&temp.fd)
}

/// Names the file by link(2), which every file system does atomically and without overwrite,
/// NFS too; where there are no hard links (FAT, some FUSE and SMB mounts), by
/// `renameat2(RENAME_NOREPLACE)`, which NFS refuses. A file system with neither is unfit.
pub(super) fn publish(root: BorrowedFd<'_>, temp: &TempFile, to: &str) -> io::Result<Published> {
    let temp_dir = open_temp_dir(root)?;
    let dir = open_dir(root, parent_of(to))?;
    let leaf = leaf_of(to);
    let linked = fs::linkat(&temp_dir, &temp.name, &dir, leaf, AtFlags::empty());
    let outcome = match linked {
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
            let flags = RenameFlags::NOREPLACE;
            match fs::renameat_with(&temp_dir, &temp.name, &dir, leaf, flags) {
                // The kernel knows the call, this file system does not know the flag.
                Err(Errno::INVAL | Errno::NOSYS) => Err(Errno::OPNOTSUPP),
                other => other,
            }
        }
        other => other,
    };
    match outcome {
        Ok(()) => Ok(Published::New),
        // An NFS server repeats a LINK whose reply was lost and then finds our own link there.
        Err(Errno::EXIST) if is_same_file(&temp.fd, dir.as_fd(), leaf)? => Ok(Published::New),
        Err(Errno::EXIST) => Ok(Published::Taken),
        Err(errno) => Err(errno),
    }
}

fn is_same_file(fd: &OwnedFd, dir: BorrowedFd<'_>, leaf: &str) -> io::Result<bool> {
    let ours = fs::fstat(fd)?;
    match fs::statat(dir, leaf, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) => Ok(ours.st_dev == there.st_dev && ours.st_ino == there.st_ino),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

pub(super) fn remove_temp(root: BorrowedFd<'_>, name: &str) -> io::Result<bool> {
    match open_dir(root, TEMP_DIR) {
        Ok(dir) => unlink_in(dir.as_fd(), name),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn unlink_in(dir: BorrowedFd<'_>, leaf: &str) -> io::Result<bool> {
    match fs::unlinkat(dir, leaf, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

pub(super) fn unlink(root: BorrowedFd<'_>, path: &str) -> io::Result<bool> {
    match open_dir(root, parent_of(path)) {
        Ok(dir) => unlink_in(dir.as_fd(), leaf_of(path)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

pub(super) fn make_dir(root: BorrowedFd<'_>, dir: &str) -> io::Result<()> {
    let parent = open_dir(root, parent_of(dir))?;
    make_one(parent.as_fd(), leaf_of(dir))
}

pub(super) fn sync_dir(root: BorrowedFd<'_>, dir: &str) -> io::Result<()> {
    match fs::fsync(open_dir(root, dir)?) {
        // A file system that has no fsync of directories (some FUSE and SMB mounts: EINVAL)
        // cannot promise what `put` must; `Unsupported` becomes "unfit".
        Err(Errno::INVAL) => Err(Errno::OPNOTSUPP),
        other => other,
    }
}

fn kind_of(stat: &Stat) -> FileKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        _ => FileKind::Foreign,
    }
}

fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// The entry `leaf` of `dir`; `None` when it is not there.
fn stat_in(dir: BorrowedFd<'_>, leaf: &str) -> io::Result<Option<Entry>> {
    match fs::statat(dir, leaf, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Entry {
            name: leaf.to_owned(),
            kind: kind_of(&stat),
            size: size_of(&stat),
        })),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Opens the directory of an object. A way that leads through something that is no directory
/// leads to no object.
fn open_parent(root: BorrowedFd<'_>, path: &str) -> io::Result<Option<OwnedFd>> {
    match open_dir(root, parent_of(path)) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

pub(super) fn stat(root: BorrowedFd<'_>, path: &str) -> io::Result<Option<Entry>> {
    match open_parent(root, path)? {
        Some(dir) => stat_in(dir.as_fd(), leaf_of(path)),
        None => Ok(None),
    }
}

pub(super) fn read(root: BorrowedFd<'_>, path: &str, part: &Part) -> io::Result<Content> {
    match open_parent(root, path)? {
        Some(dir) => read_in(dir.as_fd(), leaf_of(path), part),
        None => Ok(Content::Missing),
    }
}

/// Reads whole files; a directory is opened once for those that follow each other in it.
pub(super) fn read_each(
    root: BorrowedFd<'_>,
    paths: &[String],
    max_size: u64,
) -> Vec<io::Result<Content>> {
    let mut at: Option<(&str, OwnedFd)> = None;
    let mut contents = Vec::with_capacity(paths.len());
    for path in paths {
        let parent = parent_of(path);
        if at.as_ref().is_none_or(|(name, _)| *name != parent) {
            at = match open_parent(root, path) {
                Ok(dir) => dir.map(|dir| (parent, dir)),
                Err(errno) => {
                    contents.push(Err(errno));
                    continue;
                }
            };
        }
        contents.push(match &at {
            Some((_, dir)) => read_in(dir.as_fd(), leaf_of(path), &Part::Whole(max_size)),
            None => Ok(Content::Missing),
        });
    }
    contents
}

fn read_in(dir: BorrowedFd<'_>, leaf: &str, part: &Part) -> io::Result<Content> {
    // NONBLOCK: opening a foreign pipe must not wait for a writer. It means nothing for files.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match fs::openat(dir, leaf, flags, Mode::empty()) {
        Ok(file) => file,
        // Missing, a link, a socket.
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(Content::Missing),
        Err(errno) => return Err(errno),
    };
    let stat = fs::fstat(&file)?;
    if kind_of(&stat) != FileKind::File {
        return Ok(Content::Missing);
    }
    let size = size_of(&stat);
    match part.place_in(size) {
        Some((offset, len)) => read_exactly(&file, offset, len).map(Content::Bytes),
        None => Ok(Content::Outside(size)),
    }
}

fn read_exactly(file: &OwnedFd, offset: u64, len: usize) -> io::Result<Bytes> {
    if let Some(body) = direct::read(file, offset, len)? {
        return Ok(Bytes::from_owner(body));
    }
    let mut body = Vec::new();
    body.try_reserve_exact(len).map_err(|_| Errno::NOMEM)?;
    while body.len() < len {
        let at = offset + body.len() as u64;
        match io::pread(file, spare_capacity(&mut body), at) {
            // Shorter than it was a moment ago: objects do not shrink, someone tampers.
            Ok(0) => return Err(Errno::IO),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    // The vector may have had more room than asked for, and the file more bytes.
    body.truncate(len);
    Ok(body.into())
}

pub(super) fn list(root: BorrowedFd<'_>, dir: &str) -> io::Result<Vec<Entry>> {
    let dir = match open_dir(root, dir) {
        Ok(dir) => dir,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let mut entries = Vec::new();
    for found in Dir::read_from(&dir)? {
        let found = found?;
        match found.file_name().to_str() {
            Ok(name) if !name.starts_with('.') => entries.extend(stat_in(dir.as_fd(), name)?),
            _ => {}
        }
    }
    Ok(entries)
}

/// Ages are differences between two times of the same clock, the file system's: that of a probe
/// made now, and that of each file. A wrong local clock, or a server's that differs, cannot make
/// a file that is still written look old.
pub(super) fn leftovers(root: BorrowedFd<'_>, probe: &str) -> io::Result<Vec<Leftover>> {
    let dir = match open_dir(root, TEMP_DIR) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let probe = create_temp(root, probe)?;
    let now = modified(&fs::fstat(&probe.fd)?);
    remove_temp(root, &probe.name)?;
    let mut found = Vec::new();
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        let stat = match fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno),
        };
        if name.starts_with(TEMP_PREFIX) && kind_of(&stat) == FileKind::File {
            let age = now.duration_since(modified(&stat)).unwrap_or_default();
            found.push(Leftover {
                name: name.to_owned(),
                age,
            });
        }
    }
    Ok(found)
}

fn modified(stat: &Stat) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0))
        + Duration::from_nanos(stat.st_mtime_nsec);
    UNIX_EPOCH + since
}
