//! Errors of the vault.

use std::fmt;
use std::sync::Arc;

use tresor_model::{PointId, SessionId, StreamName};

/// What went wrong, for callers that decide by it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no vault at this place.
    NotAVault,
    /// `create`: something is there already.
    Exists,
    /// An object was written by a newer program.
    VersionUnknown {
        /// The object.
        object: String,
        /// Its version.
        found: u16,
    },
    /// No key slot opens with this key.
    KeyRejected,
    /// Only who has the keys of all domains can do this.
    OwnerOnly,
    /// There is no such key slot.
    SlotNotFound {
        /// Its id.
        slot: uuid::Uuid,
    },
    /// The key slot must stay.
    SlotNeeded {
        /// Its id.
        slot: uuid::Uuid,
        /// It is the last one; else the vault was opened with it.
        is_last: bool,
    },
    /// The key cannot be used at all (empty, too short, not a recovery key).
    KeyUnusable,
    /// The key ring lacks the key that an object is sealed with.
    KeyMissing {
        /// The object.
        object: String,
        /// Number of the key.
        epoch: u32,
    },
    /// A stream is to be built on one of another domain, whose keys a reader of the new one may not
    /// have.
    BaseElsewhere {
        /// The stream it was to be built on.
        stream: StreamName,
    },
    /// An object is damaged or missing.
    Damaged {
        /// The object.
        object: String,
        /// In words.
        reason: String,
    },
    /// A part of a stream cannot be read.
    ChunkDamaged {
        /// Id of the chunk, or of the manifest node above it.
        chunk: String,
        /// The stream.
        stream: StreamName,
        /// First byte within the stream.
        offset: u64,
        /// The object that should hold it.
        object: String,
        /// In words.
        reason: String,
    },
    /// Somebody else ended the session.
    SessionLost {
        /// The session.
        session: SessionId,
    },
    /// A session with this id exists.
    SessionExists {
        /// The session.
        session: SessionId,
    },
    /// The recovery point is marked as expired.
    PointExpired {
        /// Its id.
        point: PointId,
    },
    /// The recovery point is deleted; it can be brought back.
    PointDeleted {
        /// Its id.
        point: PointId,
    },
    /// The recovery point must not be removed.
    PointHeld {
        /// Its id.
        point: PointId,
        /// Why, in words.
        reason: String,
    },
    /// The recovery point that a stream is to be based on is gone, or about to be.
    BaseGone {
        /// The stream.
        stream: StreamName,
    },
    /// There is no such recovery point, or its session was aborted.
    PointNotFound {
        /// The id.
        point: PointId,
    },
    /// The storage failed.
    Storage {
        /// The object or prefix.
        object: String,
        /// How.
        kind: tresor_backend::ErrorKind,
    },
    /// The caller broke a rule of this interface.
    Misuse {
        /// Which.
        rule: &'static str,
    },
    /// The session failed before; the source is its first error.
    SessionFailed,
    /// A worker thread is gone, or the operating system refused one, or random numbers.
    System {
        /// What could not be done.
        what: &'static str,
    },
    /// The caller went away.
    Cancelled,
}

/// An error of the vault: the kind with its context, and the cause below.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Box<ErrorKind>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What this crate gives.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self {
            kind: Box::new(kind),
            source: None,
        }
    }

    pub(crate) fn because(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    pub(crate) fn misuse(rule: &'static str) -> Self {
        Self::new(ErrorKind::Misuse { rule })
    }

    pub(crate) fn system(what: &'static str) -> Self {
        Self::new(ErrorKind::System { what })
    }

    pub(crate) fn damaged(object: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Damaged {
            object: object.into(),
            reason: reason.into(),
        })
    }

    /// An error of the storage about an object.
    pub(crate) fn storage(object: &str, error: tresor_backend::Error) -> Self {
        let kind = error.kind();
        Self::new(ErrorKind::Storage {
            object: object.to_owned(),
            kind,
        })
        .because(error)
    }

    /// What a decoder found in an object.
    pub(crate) fn format(object: &str, error: tresor_vault_format::Error) -> Self {
        use tresor_vault_format::ErrorKind as Format;
        let object = object.to_owned();
        let kind = match error.kind() {
            Format::VersionUnknown { found } => ErrorKind::VersionUnknown { object, found },
            Format::KeyUnknown { epoch } => ErrorKind::KeyMissing { object, epoch },
            _ => ErrorKind::Damaged {
                object,
                reason: error.to_string(),
            },
        };
        Self::new(kind)
    }

    /// The error that later calls of a failed session give.
    pub(crate) fn session_failed(first: &Self) -> Self {
        Self::new(ErrorKind::SessionFailed).because(first.clone())
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Whether stored data is damaged or missing, rather than out of reach for a while.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self.kind() {
            ErrorKind::Damaged { .. } | ErrorKind::ChunkDamaged { .. } => true,
            ErrorKind::Storage { kind, .. } => matches!(
                kind,
                tresor_backend::ErrorKind::NotFound | tresor_backend::ErrorKind::BadRange
            ),
            _ => false,
        }
    }

    /// Whether an object is not there.
    pub(crate) fn is_gone(&self) -> bool {
        let gone = tresor_backend::ErrorKind::NotFound;
        matches!(self.kind(), ErrorKind::Storage { kind, .. } if *kind == gone)
    }

    /// Whether the storage failed to read what it may have.
    pub(crate) fn is_unreadable(&self) -> bool {
        let failed = tresor_backend::ErrorKind::Io;
        matches!(self.kind(), ErrorKind::Storage { kind, .. } if *kind == failed)
    }

    /// Whether the storage holds an object and deletes it later or never.
    pub(crate) fn is_retained(&self) -> bool {
        let retained = tresor_backend::ErrorKind::Retained;
        matches!(self.kind(), ErrorKind::Storage { kind, .. } if *kind == retained)
    }

    /// Whether the storage has no room.
    pub(crate) fn is_full(&self) -> bool {
        let full = tresor_backend::ErrorKind::Full;
        matches!(self.kind(), ErrorKind::Storage { kind, .. } if *kind == full)
    }

    /// Object and reason, when the error is about what is stored.
    pub(crate) fn object_and_reason(&self) -> Option<(String, String)> {
        match self.kind() {
            ErrorKind::Damaged { object, reason }
            | ErrorKind::ChunkDamaged { object, reason, .. } => {
                Some((object.clone(), reason.clone()))
            }
            ErrorKind::VersionUnknown { object, .. } | ErrorKind::KeyMissing { object, .. } => {
                Some((object.clone(), self.to_string()))
            }
            ErrorKind::Storage { object, kind } => matches!(
                kind,
                tresor_backend::ErrorKind::NotFound
                    | tresor_backend::ErrorKind::BadRange
                    | tresor_backend::ErrorKind::Io
            )
            .then(|| (object.clone(), storage_words(*kind).to_owned())),
            _ => None,
        }
    }
}

fn storage_words(kind: tresor_backend::ErrorKind) -> &'static str {
    match kind {
        tresor_backend::ErrorKind::NotFound => "it is missing",
        tresor_backend::ErrorKind::BadRange => "its size is wrong",
        _ => "it cannot be read",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            ErrorKind::NotAVault => f.write_str("there is no vault at this place"),
            ErrorKind::Exists => f.write_str("the place is not empty"),
            ErrorKind::VersionUnknown { object, found } => {
                write!(
                    f,
                    "{object} has format version {found}, which this program cannot read"
                )
            }
            ErrorKind::KeyRejected => f.write_str("no key slot opens with this key"),
            ErrorKind::OwnerOnly => {
                f.write_str("this needs a key of the vault's owner: the key that was given opens one domain only")
            }
            ErrorKind::SlotNotFound { slot } => write!(f, "there is no key slot {slot}"),
            ErrorKind::SlotNeeded { slot, is_last: true } => {
                write!(f, "key slot {slot} is the last one that opens the vault")
            }
            ErrorKind::SlotNeeded { slot, .. } => {
                write!(f, "the vault was opened with key slot {slot}")
            }
            ErrorKind::KeyUnusable => f.write_str("the key cannot be used"),
            ErrorKind::KeyMissing { object, epoch } => {
                write!(
                    f,
                    "{object} is sealed with key {epoch}, which is not in the key ring"
                )
            }
            ErrorKind::BaseElsewhere { stream } => {
                write!(f, "{stream} is of another domain: nothing is built on it in this one")
            }
            ErrorKind::Damaged { object, reason } => write!(f, "{object} is damaged: {reason}"),
            ErrorKind::ChunkDamaged {
                chunk,
                stream,
                offset,
                object,
                reason,
            } => write!(
                f,
                "chunk {chunk} of {stream} at byte {offset} cannot be read from {object}: {reason}"
            ),
            ErrorKind::SessionLost { session } => {
                write!(f, "session {session} was ended by somebody else")
            }
            ErrorKind::SessionExists { session } => write!(f, "session {session} exists already"),
            ErrorKind::PointExpired { point } => write!(f, "recovery point {point} has expired"),
            ErrorKind::PointDeleted { point } => write!(f, "recovery point {point} is deleted"),
            ErrorKind::PointHeld { point, reason } => {
                write!(f, "recovery point {point} cannot be removed: {reason}")
            }
            ErrorKind::BaseGone { stream } => {
                write!(f, "the recovery point that {stream} is based on is gone")
            }
            ErrorKind::PointNotFound { point } => write!(f, "there is no recovery point {point}"),
            ErrorKind::Storage { object, .. } => write!(f, "the storage failed at {object}"),
            ErrorKind::Misuse { rule } => write!(f, "misuse of the vault: {rule}"),
            ErrorKind::SessionFailed => f.write_str("the session failed before"),
            ErrorKind::System { what } => write!(f, "the system failed: {what}"),
            ErrorKind::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
