//! The few file-system operations that the local directory is made of.
//!
//! [`crate::LocalBackend`] is written over this trait alone, so that the code that runs on a disk
//! is the code that the simulator ([`crate::sim`]) cuts the power under. Paths are relative to
//! the vault's root, with `/` between segments; `""` is the root. The trait hides *how* an
//! operation is done (system calls, threads), never *which* operations are done in what order:
//! that order is what must be right, and it is written in `backend.rs`.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;

use crate::Part;

/// A file-system operation failed.
#[derive(Debug)]
pub struct FsError {
    operation: &'static str,
    path: String,
    source: io::Error,
}

impl FsError {
    /// `operation` on `path` failed with `source`.
    pub fn new(operation: &'static str, path: impl Into<String>, source: io::Error) -> Self {
        Self {
            operation,
            path: path.into(),
            source,
        }
    }

    /// The class of the cause.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.operation, self.path)
    }
}

impl std::error::Error for FsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file: the only thing that can be an object.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, device, socket or pipe: never ours, never followed.
    Foreign,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last segment.
    pub name: String,
    /// What it stands for.
    pub kind: FileKind,
    /// Its size in bytes, if it is a file.
    pub size: u64,
}

/// A temporary file that some writer left or still writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its name, for [`Fs::remove_leftover`].
    pub name: String,
    /// Time since its last write, by the file system's own clock.
    pub age: Duration,
}

/// How [`Fs::publish`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The name is now this file's.
    New,
    /// The name was taken; nothing was changed.
    Taken,
}

/// What [`Fs::read`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Exactly the bytes asked for.
    Bytes(Bytes),
    /// The file, of this size, does not have that part, or is larger than allowed.
    Outside(u64),
    /// The name stands for nothing, or for no regular file.
    Missing,
}

/// A file system with one directory tree in it. All operations may be called at once.
///
/// Each changes one thing, and nothing is durable before the sync that says so:
/// [`Fs::sync_file`] makes durable a file's bytes and size, not its name; [`Fs::sync_dir`] makes
/// durable the names in one directory, not the files' bytes, nor the directory's own name in its
/// parent.
pub trait Fs: Send + Sync + 'static {
    /// An open temporary file.
    type Temp: Send + Sync;

    /// Where the root is, for people.
    fn location(&self) -> String;

    /// Makes an empty file with a fresh name that no list shows.
    fn create_temp(&self) -> impl Future<Output = Result<Self::Temp, FsError>> + Send;

    /// Appends bytes. On an error the file has some or none of them.
    fn write(
        &self,
        temp: &Self::Temp,
        body: Bytes,
    ) -> impl Future<Output = Result<(), FsError>> + Send;

    /// Makes the file's bytes durable. After an error they may be gone for good although a
    /// second sync succeeds (Linux marks the pages clean): give the file up.
    fn sync_file(&self, temp: &Self::Temp) -> impl Future<Output = Result<(), FsError>> + Send;

    /// Gives the file the name `to`, in one step, if the name is free. Of several that race for
    /// a name exactly one gets [`Published::New`].
    fn publish(
        &self,
        temp: &Self::Temp,
        to: &str,
    ) -> impl Future<Output = Result<Published, FsError>> + Send;

    /// Removes the temporary name, if it is still there. A published file keeps its new name.
    fn remove_temp(&self, temp: Self::Temp) -> impl Future<Output = Result<(), FsError>> + Send;

    /// Makes a directory; one that is there is as good.
    fn make_dir(&self, dir: &str) -> impl Future<Output = Result<(), FsError>> + Send;

    /// Makes durable which names `dir` has.
    fn sync_dir(&self, dir: &str) -> impl Future<Output = Result<(), FsError>> + Send;

    /// Reads a part of a regular file.
    fn read(&self, path: &str, part: Part)
    -> impl Future<Output = Result<Content, FsError>> + Send;

    /// Reads whole files of at most so many bytes, one after the other; the answers are in the order
    /// of the paths.
    fn read_each(
        &self,
        paths: Vec<String>,
        max_size: u64,
    ) -> impl Future<Output = Vec<Result<Content, FsError>>> + Send {
        async move {
            let mut contents = Vec::with_capacity(paths.len());
            for path in &paths {
                contents.push(self.read(path, Part::Whole(max_size)).await);
            }
            contents
        }
    }

    /// What a path stands for, links not followed.
    fn stat(&self, path: &str) -> impl Future<Output = Result<Option<Entry>, FsError>> + Send;

    /// The names in a directory, in any order, without those that are not UTF-8 and those that
    /// start with a dot. A missing directory has none.
    fn list(&self, dir: &str) -> impl Future<Output = Result<Vec<Entry>, FsError>> + Send;

    /// Removes a file's name; whether it was there.
    fn unlink(&self, path: &str) -> impl Future<Output = Result<bool, FsError>> + Send;

    /// The temporary files of all processes, dead or alive.
    fn leftovers(&self) -> impl Future<Output = Result<Vec<Leftover>, FsError>> + Send;

    /// Removes one of them; whether it was there.
    fn remove_leftover(&self, name: &str) -> impl Future<Output = Result<bool, FsError>> + Send;
}
