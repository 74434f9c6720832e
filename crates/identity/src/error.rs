//! What can be wrong with the files that say who we are.

use std::{error::Error as StdError, fmt, path::Path};

/// The result of every call of this crate that touches files or keys.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was: the part callers may decide on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such file.
    Missing,
    /// We may not read it, or reading failed.
    Unreadable,
    /// It holds a private key and others may read it, or it is somebody else's.
    ReadableByOthers,
    /// It is larger than such a file can be.
    TooLarge,
    /// It is no PEM, no certificate, no key, or not of the kind that belongs there.
    Damaged,
    /// Key and certificate do not belong together.
    KeyMismatch,
    /// The authority's certificate is there and its key is not.
    KeyMissing,
    /// A certificate's time is over.
    Expired,
    /// It cannot be written.
    Unwritable,
    /// The system gave no random numbers, or the cryptographic library refused.
    Crypto,
}

type Source = Box<dyn StdError + Send + Sync>;

/// A failure: the kind, the file it was about, and the failure below.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    path: String,
    detail: String,
    source: Option<Source>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, path: &Path, detail: impl Into<String>) -> Self {
        Self {
            kind,
            path: path.display().to_string(),
            detail: detail.into(),
            source: None,
        }
    }

    pub(crate) fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// A failure of the cryptographic library while `doing` something that has no file.
    pub(crate) fn crypto(doing: &str, source: impl Into<Source>) -> Self {
        Self {
            kind: ErrorKind::Crypto,
            path: String::new(),
            detail: doing.to_owned(),
            source: Some(source.into()),
        }
    }

    /// What kind of failure it was.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The file it was about; empty when there is none.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong, without the file's name.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.detail)
        } else {
            write!(f, "{}: {}", self.path, self.detail)
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}
