//! Errors of transfers.

use std::fmt;

/// Which side failed. The error below has the details.
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The snapshot.
    Snapshot(tresor_disk::Error),
    /// The vault.
    Vault(tresor_vault::Error),
    /// A file on this host.
    File {
        /// Which.
        path: std::path::PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The target exists and may not be replaced.
    TargetExists(std::path::PathBuf),
    /// The target is held by somebody.
    TargetInUse {
        /// Which.
        path: std::path::PathBuf,
        /// Who, in words.
        holder: String,
    },
    /// Cancelled by the caller.
    Cancelled,
}

/// An error of a transfer: what was being done, and which side failed.
#[derive(Debug)]
pub struct Error {
    /// Which side failed, and how.
    pub kind: ErrorKind,
    /// The disk or attachment it is about.
    pub stream: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, stream: impl fmt::Display) -> Self {
        Self {
            kind,
            stream: stream.to_string(),
        }
    }

    /// Whether what the vault has is damaged or missing.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(&self.kind, ErrorKind::Vault(error) if error.is_damage())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = &self.stream;
        match &self.kind {
            ErrorKind::Snapshot(_) => write!(f, "reading the snapshot of {stream}"),
            ErrorKind::Vault(_) => write!(f, "moving {stream} between vault and disk"),
            ErrorKind::File { path, .. } => write!(f, "{stream}: access to {}", path.display()),
            ErrorKind::TargetExists(path) => write!(f, "{stream}: {} exists", path.display()),
            ErrorKind::TargetInUse { path, holder } => {
                write!(f, "{stream}: {} is in use by {holder}", path.display())
            }
            ErrorKind::Cancelled => write!(f, "{stream}: cancelled"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ErrorKind::Snapshot(error) => Some(error),
            ErrorKind::Vault(error) => Some(error),
            ErrorKind::File { error, .. } => Some(error),
            ErrorKind::TargetExists(_) | ErrorKind::TargetInUse { .. } | ErrorKind::Cancelled => {
                None
            }
        }
    }
}
