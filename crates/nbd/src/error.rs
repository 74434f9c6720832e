//! What can go wrong between this client and a server, by kind.

use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc};

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was: the part callers may decide on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No connection could be made to the address.
    Connect,
    /// The connection ended while it was needed.
    ConnectionLost,
    /// The server answered the request with an error; the connection is still good.
    Server(Errno),
    /// The server broke the protocol; the connection is poisoned.
    Protocol,
    /// The server took longer than the caller allows.
    LimitPassed,
    /// The server has no export of that name.
    ExportUnknown,
    /// The server does not offer a metadata context that was asked for.
    ContextUnknown,
    /// The server talks to clients with TLS only.
    TlsRequired,
    /// The server refuses the session for another reason.
    Refused,
    /// The caller asked for bytes outside the export, or gave options that cannot work.
    Invalid,
    /// The window holds more extents than this client is willing to keep in memory.
    TooFragmented,
    /// The client was disconnected by its owner.
    Disconnected,
}

/// The error numbers the protocol defines, independent of the machine's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Errno {
    /// Operation not permitted.
    Perm,
    /// Input/output error.
    Io,
    /// Cannot allocate memory.
    NoMemory,
    /// Invalid argument.
    Invalid,
    /// No space left on the device.
    NoSpace,
    /// Value too large (a reply that may not be fragmented was).
    Overflow,
    /// Operation not supported.
    NotSupported,
    /// The server is shutting down.
    Shutdown,
    /// A number the protocol does not define; clients treat it as [`Errno::Invalid`].
    Other(u32),
}

impl Errno {
    /// The meaning of an error number from the wire.
    #[must_use]
    pub fn from_wire(number: u32) -> Self {
        match number {
            1 => Self::Perm,
            5 => Self::Io,
            12 => Self::NoMemory,
            22 => Self::Invalid,
            28 => Self::NoSpace,
            75 => Self::Overflow,
            95 => Self::NotSupported,
            108 => Self::Shutdown,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Perm => f.write_str("operation not permitted"),
            Self::Io => f.write_str("input/output error"),
            Self::NoMemory => f.write_str("out of memory"),
            Self::Invalid => f.write_str("invalid argument"),
            Self::NoSpace => f.write_str("no space left"),
            Self::Overflow => f.write_str("value too large"),
            Self::NotSupported => f.write_str("operation not supported"),
            Self::Shutdown => f.write_str("server is shutting down"),
            Self::Other(number) => write!(f, "error number {number}"),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("cannot connect"),
            Self::ConnectionLost => f.write_str("connection lost"),
            Self::Server(errno) => write!(f, "the server answered: {errno}"),
            Self::Protocol => f.write_str("the server broke the protocol"),
            Self::LimitPassed => f.write_str("time limit passed"),
            Self::ExportUnknown => f.write_str("no such export"),
            Self::ContextUnknown => f.write_str("no such metadata context"),
            Self::TlsRequired => f.write_str("the server requires TLS"),
            Self::Refused => f.write_str("the server refused"),
            Self::Invalid => f.write_str("invalid request"),
            Self::TooFragmented => f.write_str("too many extents"),
            Self::Disconnected => f.write_str("disconnected"),
        }
    }
}

/// A failure: its kind, what was being done, and the cause below it.
///
/// It can be cloned because one broken connection fails every request outstanding on it with the same cause.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    context: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            context: context.into(),
            source: None,
        }
    }

    pub(crate) fn caused(
        kind: ErrorKind,
        context: impl Into<Cow<'static, str>>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self {
            kind,
            context: context.into(),
            source: Some(Arc::new(source)),
        }
    }

    pub(crate) fn lost(context: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::caused(ErrorKind::ConnectionLost, context, source)
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.context)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// One rule of the protocol the server broke. Decoders return it; the connection turns it into an [`Error`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Violation(Cow<'static, str>);

impl Violation {
    pub(crate) fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self(what.into())
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::new(ErrorKind::Protocol, violation.0)
    }
}
