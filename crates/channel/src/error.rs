//! What can become of a call, a body or a connection.

use std::{error::Error as StdError, fmt, sync::Arc};

use tresor_link_proto as proto;
use tresor_link_proto::{Failure, Misuse, failures};

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was: the part callers may decide on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nobody greeted in time.
    NobodyThere,
    /// The other end speaks another version, or is not what may be there.
    Incompatible,
    /// The stream ended or failed. Whether what was asked for happened is not known.
    Lost,
    /// The other end broke the protocol, or bytes were damaged on the way.
    Protocol,
    /// The other end broke off, and said why.
    Reset,
    /// The other end began anew. The stream may be opened again.
    Restarted,
    /// Nothing came for too long.
    Silent,
    /// Both ends said goodbye.
    Closed,
    /// The owner of this end let go of it.
    Dropped,
    /// One of the ends takes no new requests. This one was not looked at: it may be asked elsewhere.
    Leaving,
    /// The other end answered with a failure.
    Refused,
    /// The other end gave the request up without a word: its handler ended.
    Cancelled,
    /// The other end wants no more of the body. It has answered: see there.
    NotWanted,
    /// A head is too large, no JSON, or the method's name is none.
    Invalid,
    /// A body is longer than its reader allows.
    TooLarge,
}

/// A failure: the kind, what was going on, and the failure below or of the other end.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    failure: Option<Arc<Failure>>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            failure: None,
            source: None,
        }
    }

    pub(crate) fn because(
        kind: ErrorKind,
        context: impl Into<String>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self {
            source: Some(Arc::new(source)),
            ..Self::new(kind, context)
        }
    }

    /// The end of a link.
    pub(crate) fn of_link(error: proto::Error) -> Self {
        use proto::ErrorKind as Link;
        let kind = match error.kind() {
            Link::VersionRefused { .. } | Link::RoleRefused { .. } => ErrorKind::Incompatible,
            Link::PeerRestarted => ErrorKind::Restarted,
            Link::PeerReset { code } => match code {
                proto::codes::VERSION | proto::codes::ROLE => ErrorKind::Incompatible,
                _ => ErrorKind::Reset,
            },
            _ => ErrorKind::Protocol,
        };
        Self::because(kind, "the link ended", error)
    }

    pub(crate) fn refused(failure: Failure) -> Self {
        let kind = match failure.code.as_str() {
            failures::LEAVING => ErrorKind::Leaving,
            _ => ErrorKind::Refused,
        };
        Self {
            failure: Some(Arc::new(failure)),
            ..Self::new(kind, "the other end refused")
        }
    }

    pub(crate) fn misuse(misuse: Misuse) -> Self {
        let kind = match misuse {
            Misuse::Leaving => ErrorKind::Leaving,
            Misuse::StreamOver => ErrorKind::NotWanted,
            _ => ErrorKind::Invalid,
        };
        Self::because(kind, "the request cannot be made", misuse)
    }

    /// What kind of failure it was.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the other end answered, when it [`ErrorKind::Refused`].
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        match &self.failure {
            Some(failure) => write!(f, ": {} ({})", failure.text, failure.code),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}
