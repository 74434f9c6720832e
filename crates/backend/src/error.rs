//! Errors of backends.

use std::fmt;

/// What went wrong, for callers that decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no object of this name.
    NotFound,
    /// `put`: the name is taken; nothing was changed.
    AlreadyExists,
    /// The store has no space or quota left.
    Full,
    /// The store refuses this caller, or is read-only.
    Denied,
    /// Whoever stands between this caller and the store does not do this for it: a gateway deletes
    /// and replaces nothing, and keeps and shows only what is the caller's own. Nothing was changed.
    Refused,
    /// `delete`: the store holds the object until a date, whoever asks. Nothing was changed; the
    /// error below says until when, where the store tells.
    Retained,
    /// The range lies outside the object.
    BadRange,
    /// The store does not answer, or says "later".
    Unavailable,
    /// The store failed; the object's state is unknown.
    Io,
    /// The store lacks a property that a vault needs.
    Unfit,
}

impl ErrorKind {
    /// Whether the same call may succeed a little later.
    #[must_use]
    pub fn is_transient(self) -> bool {
        match self {
            Self::Unavailable => true,
            Self::NotFound
            | Self::AlreadyExists
            | Self::Full
            | Self::Denied
            | Self::Refused
            | Self::Retained
            | Self::BadRange
            | Self::Io
            | Self::Unfit => false,
        }
    }
}

/// An error of a backend: kind, object, operation, and the cause below.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    operation: &'static str,
    object: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `operation` ("put", "get", …) on an object or prefix.
    #[must_use]
    pub fn new(kind: ErrorKind, operation: &'static str, object: impl Into<String>) -> Self {
        Self {
            kind,
            operation,
            object: object.into(),
            source: None,
        }
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

    /// The object or prefix.
    #[must_use]
    pub fn object(&self) -> &str {
        &self.object
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ErrorKind::NotFound => "not found",
            ErrorKind::AlreadyExists => "exists already",
            ErrorKind::Full => "no space left",
            ErrorKind::Denied => "access denied",
            ErrorKind::Refused => "refused by the gateway",
            ErrorKind::Retained => "held by the store",
            ErrorKind::BadRange => "range outside the object",
            ErrorKind::Unavailable => "storage not available",
            ErrorKind::Io => "storage failed",
            ErrorKind::Unfit => "storage not fit for a vault",
        };
        write!(f, "{} {}: {what}", self.operation, self.object)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
