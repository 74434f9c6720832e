//! The frame: header, body, check. Layout: docs/protocol/link.md, "Frames".

use std::fmt;

use super::Fields;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{CONTROL_LIMIT, DATA_LIMIT, HEADER_LEN, HELLO_LIMIT, TRAILER_LEN};

/// Begins every frame. Its first byte is in no text: UTF-8 has none of it.
pub(crate) const MAGIC: [u8; 4] = [0xf5, b'T', b'R', b'L'];

const LAST: u16 = 1;
const PART: &str = "a frame's header";

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Who is there, which versions it speaks, what it keeps.
    Hello = 1,
    /// The session is over, now.
    Reset = 2,
    /// Is somebody there?
    Ping = 3,
    /// Yes.
    Pong = 4,
    /// No new requests; what is under way goes on.
    Goodbye = 5,
    /// More data may come.
    Credit = 6,
    /// Opens a stream: a method and its head.
    Request = 16,
    /// The answer's head.
    Answer = 17,
    /// The sender's direction fails: with what.
    Error = 18,
    /// A piece of a body.
    Data = 19,
    /// The sender's direction is complete.
    End = 20,
    /// The sender gives the stream up, in both directions.
    Cancel = 21,
}

impl Kind {
    fn from_wire(byte: u8) -> Result<Self> {
        Ok(match byte {
            1 => Self::Hello,
            2 => Self::Reset,
            3 => Self::Ping,
            4 => Self::Pong,
            5 => Self::Goodbye,
            6 => Self::Credit,
            16 => Self::Request,
            17 => Self::Answer,
            18 => Self::Error,
            19 => Self::Data,
            20 => Self::End,
            21 => Self::Cancel,
            _ => return Err(Error::malformed("a frame's kind")),
        })
    }

    /// Most bytes of its body.
    #[must_use]
    pub const fn limit(self) -> usize {
        match self {
            Self::Hello | Self::Reset => HELLO_LIMIT,
            Self::Data => DATA_LIMIT,
            _ => CONTROL_LIMIT,
        }
    }

    /// Whether it stands outside of the numbering, and of the version that was agreed on.
    #[must_use]
    pub const fn is_outside(self) -> bool {
        matches!(self, Self::Hello | Self::Reset)
    }

    const fn may_be_last(self) -> bool {
        matches!(self, Self::Request | Self::Answer)
    }

    /// Whether it belongs to a stream (true), to the connection (false), or to either.
    const fn of_a_stream(self) -> Option<bool> {
        match self {
            Self::Credit => None,
            Self::Hello | Self::Reset | Self::Ping | Self::Pong | Self::Goodbye => Some(false),
            _ => Some(true),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A stream's number. The end with the lower role opens odd ones, the other one even ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(crate) u32);

impl StreamId {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What stands before a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Version of the protocol that it is written in.
    pub version: u8,
    /// What it is.
    pub kind: Kind,
    /// A request or an answer without a body: its direction ends with it.
    pub last: bool,
    /// The receiver's session number; in a greeting, the sender's.
    pub session: u64,
    /// The stream, or 0.
    pub stream: u32,
    /// How many frames of the session went before it in its direction.
    pub sequence: u32,
    /// Bytes of the body.
    pub length: u32,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = self.version;
        out[5] = self.kind as u8;
        let flags = if self.last { LAST } else { 0 };
        out[6..8].copy_from_slice(&flags.to_le_bytes());
        out[8..16].copy_from_slice(&self.session.to_le_bytes());
        out[16..20].copy_from_slice(&self.stream.to_le_bytes());
        out[20..24].copy_from_slice(&self.sequence.to_le_bytes());
        out[24..28].copy_from_slice(&self.length.to_le_bytes());
        let check = crc32c::crc32c(&out[..28]);
        out[28..].copy_from_slice(&check.to_le_bytes());
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfStep`] when the bytes are no header; else what is wrong with it.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self> {
        let mut fields = Fields::new(bytes, PART);
        if fields.take(4)? != MAGIC {
            return Err(Error::new(ErrorKind::OutOfStep, "no frame begins here"));
        }
        let (version, kind, flags) = (fields.u8()?, fields.u8()?, fields.u16()?);
        let (session, stream) = (fields.u64()?, fields.u32()?);
        let (sequence, length) = (fields.u32()?, fields.u32()?);
        if fields.u32()? != crc32c::crc32c(&bytes[..28]) {
            return Err(Error::new(ErrorKind::OutOfStep, "a header's check"));
        }
        let kind = Kind::from_wire(kind)?;
        let header = Self {
            version,
            kind,
            last: flags & LAST != 0,
            session,
            stream,
            sequence,
            length,
        };
        if usize::try_from(length).is_ok_and(|length| length > kind.limit()) {
            return Err(Error::new(ErrorKind::TooLarge, format!("a frame {kind}")));
        }
        let placed = kind.of_a_stream().is_none_or(|is| is == (stream != 0));
        if flags & !LAST != 0 || (header.last && !kind.may_be_last()) || !placed || session == 0 {
            return Err(Error::malformed(PART));
        }
        Ok(header)
    }

    /// Bytes of the body and its check.
    pub(crate) fn rest_len(&self) -> usize {
        match self.length as usize {
            0 => 0,
            length => length + TRAILER_LEN,
        }
    }
}

/// A whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What stands before the body.
    pub header: Header,
    /// The body.
    pub body: Vec<u8>,
}

impl Frame {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN + self.body.len() + TRAILER_LEN);
        encode(&mut out, self.header, &self.body);
        out
    }

    /// What to call it in an error.
    pub(crate) fn name(&self) -> String {
        let Header { kind, stream, .. } = self.header;
        match stream {
            0 => format!("a frame {kind}"),
            _ => format!("a frame {kind} of stream {stream}"),
        }
    }
}

/// Appends a frame; the header's length is made from the body.
pub(crate) fn encode(out: &mut Vec<u8>, mut header: Header, body: &[u8]) {
    debug_assert!(body.len() <= header.kind.limit(), "{}", header.kind);
    header.length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let head = header.encode();
    out.extend_from_slice(&head);
    if !body.is_empty() {
        out.extend_from_slice(body);
        out.extend_from_slice(&check(&head, body).to_le_bytes());
    }
}

/// The check behind a body: of the header as well, so that no body goes with another header.
pub(crate) fn check(header: &[u8; HEADER_LEN], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), body)
}
