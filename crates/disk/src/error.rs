//! Errors of snapshot providers.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// What went wrong, for callers that decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The hypervisor does not answer.
    Unreachable,
    /// It is there, and serves another client.
    Busy,
    /// Another VM answers.
    WrongVm,
    /// The disk cannot be snapshotted by this provider.
    Unsupported,
    /// The hypervisor refused a step.
    Refused,
    /// The point-in-time image broke; the VM is unharmed.
    SnapshotLost,
    /// The image of a VM that does not run is not where it was.
    ImageMissing,
    /// Another process holds the image of a VM that does not run.
    ImageInUse,
    /// The VM was started, and its disks were left to it.
    GaveWay,
    /// The hypervisor (or its storage) sent what it must not.
    Protocol,
    /// The host refused: files, space, permissions.
    Host,
    /// The time limit passed.
    Timeout,
    /// Cancelled by the caller.
    Cancelled,
}

/// An error of a snapshot provider: kind, what was being done, and the cause below.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    step: String,
    disk: Option<String>,
    path: Option<PathBuf>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error in `step` (words: "insert the copy-before-write filter").
    #[must_use]
    pub fn new(kind: ErrorKind, step: impl Into<String>) -> Self {
        Self {
            kind,
            step: step.into(),
            disk: None,
            path: None,
            source: None,
        }
    }

    /// Adds the disk it is about.
    #[must_use]
    pub fn on_disk(mut self, disk: impl Into<String>) -> Self {
        self.disk = Some(disk.into());
        self
    }

    /// Adds the file it is about.
    #[must_use]
    pub fn at_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Adds the error below.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What was being done.
    #[must_use]
    pub fn step(&self) -> &str {
        &self.step
    }

    /// The disk it is about, if it is about one.
    #[must_use]
    pub fn disk(&self) -> Option<&str> {
        self.disk.as_deref()
    }

    /// The file it is about, if it is about one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.step)?;
        if let Some(disk) = &self.disk {
            write!(f, " on disk {disk}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
