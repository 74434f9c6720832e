//! Errors of decoders.

use std::fmt;

/// What is wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// They end too early.
    Truncated,
    /// They are something else: the magic does not match.
    BadMagic,
    /// They were written by a newer program.
    VersionUnknown {
        /// The version that was found.
        found: u16,
    },
    /// A length or count is beyond what the format allows.
    TooLarge,
    /// A field holds what no writer writes.
    Malformed,
    /// The public hash does not match: the bytes are not those that were written.
    CheckFailed,
    /// The seal does not open: damaged, swapped, or sealed with another key.
    SealBroken,
    /// The key ring has no key of this number.
    KeyUnknown {
        /// The number.
        epoch: u32,
    },
}

/// Bytes that are not what they should be: the kind, and the part it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    part: &'static str,
}

/// What decoders give.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) const fn new(kind: ErrorKind, part: &'static str) -> Self {
        Self { kind, part }
    }

    pub(crate) const fn malformed(part: &'static str) -> Self {
        Self::new(ErrorKind::Malformed, part)
    }

    /// What is wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The part of the object it is about ("pack trailer").
    #[must_use]
    pub const fn part(&self) -> &'static str {
        self.part
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = self.part;
        match self.kind {
            ErrorKind::Truncated => write!(f, "the {part} ends too early"),
            ErrorKind::BadMagic => write!(f, "this is no {part}"),
            ErrorKind::VersionUnknown { found } => {
                write!(f, "the {part} has the unknown version {found}")
            }
            ErrorKind::TooLarge => write!(f, "a length in the {part} is beyond the limit"),
            ErrorKind::Malformed => write!(f, "the {part} is malformed"),
            ErrorKind::CheckFailed => write!(f, "the hash of the {part} does not match"),
            ErrorKind::SealBroken => write!(f, "the seal of the {part} does not open"),
            ErrorKind::KeyUnknown { epoch } => {
                write!(
                    f,
                    "the {part} is sealed with key {epoch}, which is not in the key ring"
                )
            }
        }
    }
}

impl std::error::Error for Error {}
