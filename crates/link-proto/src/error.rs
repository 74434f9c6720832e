//! What ends a link, and what its caller did wrong.

use std::fmt;

use crate::wire::Role;

/// What kind of end it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Bytes that are no frame, or a damaged one, where a frame has to be.
    OutOfStep,
    /// A frame is missing, or came twice.
    Sequence,
    /// A length is beyond its limit.
    TooLarge,
    /// A field holds what no peer writes.
    Malformed,
    /// The two ends have no version of the protocol in common.
    VersionRefused {
        /// Lowest version of the other end.
        lowest: u16,
        /// Its highest version.
        highest: u16,
    },
    /// The other end is not what may be there.
    RoleRefused {
        /// What it says it is.
        found: Role,
    },
    /// A frame that may not come at this point.
    OutOfOrder,
    /// Something came on a stream after its end.
    StreamClosed,
    /// A stream was opened twice, or its number goes back.
    StreamReused,
    /// A stream that was never opened.
    StreamUnknown,
    /// More streams than were allowed.
    TooManyStreams,
    /// More data than was allowed.
    CreditExceeded,
    /// More credit than there can be.
    CreditOverflow,
    /// A body that is not as long as its end says.
    LengthMismatch,
    /// Pings faster than their answers are taken.
    PingFlood,
    /// The other end began anew.
    PeerRestarted,
    /// This end broke off.
    BrokenOff,
    /// The other end broke off.
    PeerReset {
        /// Why: see [`crate::codes`].
        code: u16,
    },
}

/// The end of a link: the kind, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    about: String,
}

/// What receiving gives.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, about: impl Into<String>) -> Self {
        let about = about.into();
        Self { kind, about }
    }

    pub(crate) fn malformed(about: &str) -> Self {
        Self::new(ErrorKind::Malformed, about)
    }

    /// What kind of end it was.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The frame or stream it is about, or what the other end said.
    #[must_use]
    pub fn about(&self) -> &str {
        &self.about
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = &self.about;
        match self.kind {
            ErrorKind::OutOfStep => write!(f, "the bytes are out of step: {about}"),
            ErrorKind::Sequence => write!(f, "a frame is missing or came twice: {about}"),
            ErrorKind::TooLarge => write!(f, "{about} is too large"),
            ErrorKind::Malformed => write!(f, "{about} is malformed"),
            ErrorKind::VersionRefused { lowest, highest } => write!(
                f,
                "{about} speaks versions {lowest} to {highest} of the link protocol"
            ),
            ErrorKind::RoleRefused { found } => {
                write!(f, "{about} is {found}, which may not be here")
            }
            ErrorKind::OutOfOrder => write!(f, "{about} may not come at this point"),
            ErrorKind::StreamClosed => write!(f, "{about} came after the end of its stream"),
            ErrorKind::StreamReused => write!(f, "{about} opens a stream whose number was used"),
            ErrorKind::StreamUnknown => write!(f, "{about} is for a stream that was never opened"),
            ErrorKind::TooManyStreams => write!(f, "{about} opens more streams than are allowed"),
            ErrorKind::CreditExceeded => write!(f, "{about} brings more data than was allowed"),
            ErrorKind::CreditOverflow => write!(f, "{about} gives more credit than there can be"),
            ErrorKind::LengthMismatch => write!(f, "{about} says another length than came"),
            ErrorKind::PingFlood => write!(f, "{about} comes faster than its answers are taken"),
            ErrorKind::PeerRestarted => write!(f, "the other end began anew: {about}"),
            ErrorKind::BrokenOff => write!(f, "this end broke off: {about}"),
            ErrorKind::PeerReset { code } => {
                write!(f, "the other end broke off with code {code}: {about}")
            }
        }
    }
}

impl std::error::Error for Error {}

/// What a caller asked for and cannot have. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// The greeting is not over yet, or the link is.
    NotOpen,
    /// One of the ends said goodbye: no new requests.
    Leaving,
    /// The other end allows no more streams now. It will, when one ends.
    StreamsTaken,
    /// The stream's direction is over.
    StreamOver,
    /// A head or a failure is longer than a control frame.
    TooLarge,
    /// A method's name is empty, too long, or has other characters than `a-z0-9.-`.
    MethodInvalid,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOpen => "the link is not open",
            Self::Leaving => "the link takes no new requests: one end said goodbye",
            Self::StreamsTaken => "the other end allows no more streams now",
            Self::StreamOver => "the stream is over",
            Self::TooLarge => "a head is larger than a control frame",
            Self::MethodInvalid => "this is no name of a method",
        })
    }
}

impl std::error::Error for Misuse {}
