//! Requests of the transmission phase.

use bytes::{BufMut, BytesMut};

const MAGIC: u32 = 0x2560_9513;
const MAGIC_EXTENDED: u32 = 0x21e4_1c71;

/// How replies (and, when extended, requests) are framed: agreed once for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A 16-byte header, then the data of a read with no length of its own.
    Simple,
    /// Chunks with 32-bit lengths.
    Structured,
    /// Chunks and requests with 64-bit lengths.
    Extended,
}

/// The commands this client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Read,
    Disconnect,
    BlockStatus,
}

impl Command {
    fn number(self) -> u16 {
        match self {
            Self::Read => 0,
            Self::Disconnect => 2,
            Self::BlockStatus => 7,
        }
    }
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) command: Command,
    pub(crate) offset: u64,
    /// Within 32 bits unless the framing is extended: the plan of requests sees to it.
    pub(crate) length: u64,
}

impl Request {
    pub(crate) fn encode(&self, framing: Framing, cookie: u64, out: &mut BytesMut) {
        let extended = framing == Framing::Extended;
        out.put_u32(if extended { MAGIC_EXTENDED } else { MAGIC });
        out.put_u16(0); // No command flags.
        out.put_u16(self.command.number());
        out.put_u64(cookie);
        out.put_u64(self.offset);
        if extended {
            out.put_u64(self.length);
        } else {
            out.put_u32(u32::try_from(self.length).unwrap_or(u32::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Request = Request {
        command: Command::Read,
        offset: 0x1122,
        length: 0x200,
    };

    #[test]
    fn a_compact_request_is_28_bytes() {
        let mut out = BytesMut::new();
        READ.encode(Framing::Structured, 7, &mut out);
        assert_eq!(
            out[..],
            [
                0x25, 0x60, 0x95, 0x13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0x11,
                0x22, 0, 0, 2, 0
            ]
        );
    }

    #[test]
    fn an_extended_request_is_32_bytes_with_a_wide_length() {
        let mut out = BytesMut::new();
        Request {
            length: 1 << 40,
            ..READ
        }
        .encode(Framing::Extended, 7, &mut out);
        assert_eq!(out.len(), 32);
        assert_eq!(out[..4], [0x21, 0xe4, 0x1c, 0x71]);
        assert_eq!(out[24..], (1_u64 << 40).to_be_bytes());
    }
}
