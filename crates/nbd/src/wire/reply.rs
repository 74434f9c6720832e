//! Replies of the transmission phase: headers, and the payloads of chunks.

use super::{Fields, MAX_STRING, printable};
use crate::error::{Errno, Violation};

pub(crate) const MAGIC_SIMPLE: u32 = 0x6744_6698;
pub(crate) const MAGIC_STRUCTURED: u32 = 0x668e_33ef;
pub(crate) const MAGIC_EXTENDED: u32 = 0x6e8a_278c;

/// Bytes of each header after its magic.
pub(crate) const SIMPLE_HEADER: usize = 12;
pub(crate) const STRUCTURED_HEADER: usize = 16;
pub(crate) const EXTENDED_HEADER: usize = 28;

const FLAG_DONE: u16 = 1 << 0;
const ERROR_BIT: u16 = 1 << 15;

/// Longest error chunk accepted: the fixed fields, the longest text, and some room for fields of later types.
const MAX_ERROR_PAYLOAD: u64 = 6 + MAX_STRING as u64 + 64;

/// Header of a simple reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SimpleHeader {
    /// Absent: success.
    pub(crate) error: Option<Errno>,
    pub(crate) cookie: u64,
}

impl SimpleHeader {
    pub(crate) fn decode(bytes: &[u8; SIMPLE_HEADER]) -> Result<Self, Violation> {
        let mut fields = Fields::new(bytes);
        let error = fields.u32()?;
        Ok(Self {
            error: (error != 0).then(|| Errno::from_wire(error)),
            cookie: fields.u64()?,
        })
    }
}

/// What a chunk carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkKind {
    None,
    OffsetData,
    OffsetHole,
    BlockStatus,
    BlockStatusExtended,
    /// Of any type with the error bit: an unknown one still begins with the common fields.
    Error {
        has_offset: bool,
    },
}

/// Header of a chunk, of either framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkHeader {
    pub(crate) done: bool,
    pub(crate) kind: ChunkKind,
    pub(crate) cookie: u64,
    /// Extended only: the offset of the request this answers.
    pub(crate) offset: Option<u64>,
    /// Bytes of payload that follow: what may follow depends on `kind` and is checked there.
    pub(crate) length: u64,
}

impl ChunkHeader {
    pub(crate) fn decode_structured(bytes: &[u8; STRUCTURED_HEADER]) -> Result<Self, Violation> {
        let mut fields = Fields::new(bytes);
        let (flags, kind, cookie) = (fields.u16()?, fields.u16()?, fields.u64()?);
        Self::judge(flags, kind, cookie, None, u64::from(fields.u32()?))
    }

    pub(crate) fn decode_extended(bytes: &[u8; EXTENDED_HEADER]) -> Result<Self, Violation> {
        let mut fields = Fields::new(bytes);
        let (flags, kind, cookie) = (fields.u16()?, fields.u16()?, fields.u64()?);
        let offset = fields.u64()?;
        Self::judge(flags, kind, cookie, Some(offset), fields.u64()?)
    }

    fn judge(
        flags: u16,
        kind: u16,
        cookie: u64,
        offset: Option<u64>,
        length: u64,
    ) -> Result<Self, Violation> {
        let done = flags & FLAG_DONE != 0;
        let extended = offset.is_some();
        let (kind, fits) = match kind {
            0 => (ChunkKind::None, length == 0 && done),
            1 => (ChunkKind::OffsetData, length > 8),
            2 => (ChunkKind::OffsetHole, length == 12),
            // Allowed in both framings: a server may keep to short descriptors.
            5 => (
                ChunkKind::BlockStatus,
                length >= 12 && (length - 4).is_multiple_of(8),
            ),
            6 if extended => (
                ChunkKind::BlockStatusExtended,
                length >= 24 && (length - 8).is_multiple_of(16),
            ),
            kind if kind & ERROR_BIT != 0 => {
                let kind = ChunkKind::Error {
                    has_offset: kind == ERROR_BIT | 2,
                };
                (kind, (6..=MAX_ERROR_PAYLOAD).contains(&length))
            }
            kind => {
                return Err(Violation::new(format!(
                    "chunk of type {kind}, unknown or not agreed on"
                )));
            }
        };
        if !fits {
            return Err(Violation::new(format!("{kind:?} chunk of {length} bytes")));
        }
        Ok(Self {
            done,
            kind,
            cookie,
            offset,
            length,
        })
    }
}

/// Payload of an error chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorChunk {
    pub(crate) errno: Errno,
    pub(crate) text: String,
    /// Where the first error is, when told.
    pub(crate) offset: Option<u64>,
}

impl ErrorChunk {
    pub(crate) fn decode(payload: &[u8], has_offset: bool) -> Result<Self, Violation> {
        let mut fields = Fields::new(payload);
        let number = fields.u32()?;
        if number == 0 {
            return Err(Violation::new("error chunk without an error"));
        }
        let length = usize::from(fields.u16()?);
        if length > MAX_STRING {
            return Err(Violation::new("error text longer than the protocol allows"));
        }
        let text = printable(fields.bytes(length)?);
        let offset = if has_offset {
            Some(fields.u64()?)
        } else {
            None
        };
        Ok(Self {
            errno: Errno::from_wire(number),
            text,
            offset,
        })
    }
}

/// One extent of a context: how long, and what it says of it (see the constants of this crate).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Bytes; never zero.
    pub length: u64,
    /// Meaning by context.
    pub flags: u64,
}

impl Descriptor {
    /// Decodes whole descriptors: 8 bytes each when compact, 16 when wide. A rest that is no whole one is ignored.
    pub(crate) fn decode_all(bytes: &[u8], wide: bool) -> impl Iterator<Item = Self> + '_ {
        bytes.chunks_exact(if wide { 16 } else { 8 }).map(|chunk| {
            let (length, flags) = chunk.split_at(chunk.len() / 2);
            let number = |half: &[u8]| half.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            Self {
                length: number(length),
                flags: number(flags),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn structured(flags: u16, kind: u16, length: u32) -> Result<ChunkHeader, Violation> {
        let mut bytes = [0; STRUCTURED_HEADER];
        bytes[..2].copy_from_slice(&flags.to_be_bytes());
        bytes[2..4].copy_from_slice(&kind.to_be_bytes());
        bytes[12..].copy_from_slice(&length.to_be_bytes());
        ChunkHeader::decode_structured(&bytes)
    }

    #[test]
    fn chunk_lengths_are_judged_by_type() {
        assert!(structured(1, 0, 0).is_ok());
        assert!(
            structured(0, 0, 0).is_err(),
            "a chunk of nothing must be the last"
        );
        assert!(structured(1, 0, 1).is_err());
        assert!(structured(1, 1, 8).is_err(), "data of no bytes");
        assert!(structured(1, 1, 9).is_ok());
        assert!(structured(1, 2, 13).is_err());
        assert!(structured(1, 5, 4).is_err(), "no descriptor");
        assert!(structured(1, 5, 12).is_ok());
        assert!(structured(1, 6, 24).is_err(), "not agreed on");
        assert!(structured(1, 7, 0).is_err(), "unknown");
        assert!(structured(1, 0x8001, 5).is_err());
        assert!(structured(1, 0x8001, u32::MAX).is_err());
    }

    #[test]
    fn an_unknown_error_type_is_still_an_error() {
        assert_eq!(
            structured(1, 0x8055, 6).unwrap().kind,
            ChunkKind::Error { has_offset: false }
        );
        let chunk = ErrorChunk::decode(b"\0\0\0\x05\0\x02no and later fields", false).unwrap();
        assert_eq!(
            chunk,
            ErrorChunk {
                errno: Errno::Io,
                text: "no".into(),
                offset: None
            }
        );
    }

    #[test]
    fn control_characters_of_the_server_do_not_reach_a_terminal() {
        let chunk = ErrorChunk::decode(b"\0\0\0\x05\0\x04\x1b[2J", false).unwrap();
        assert_eq!(chunk.text, "\u{fffd}[2J");
    }

    #[test]
    fn descriptors_of_both_widths() {
        let compact: Vec<_> = Descriptor::decode_all(&[0, 0, 2, 0, 0, 0, 0, 3], false).collect();
        assert_eq!(
            compact,
            [Descriptor {
                length: 512,
                flags: 3
            }]
        );
        let wide: Vec<_> =
            Descriptor::decode_all(&[0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], true)
                .collect();
        assert_eq!(
            wide,
            [Descriptor {
                length: 1 << 40,
                flags: 1
            }]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(
            simple: [u8; SIMPLE_HEADER],
            structured: [u8; STRUCTURED_HEADER],
            extended: [u8; EXTENDED_HEADER],
            payload in prop::collection::vec(any::<u8>(), 0..5000),
            has_offset: bool,
        ) {
            prop_assert!(SimpleHeader::decode(&simple).is_ok());
            for header in [ChunkHeader::decode_structured(&structured), ChunkHeader::decode_extended(&extended)].into_iter().flatten() {
                if let ChunkKind::Error { .. } = header.kind {
                    prop_assert!(header.length <= MAX_ERROR_PAYLOAD);
                }
            }
            if let Ok(chunk) = ErrorChunk::decode(&payload, has_offset) {
                prop_assert!(chunk.text.chars().count() <= MAX_STRING);
            }
            prop_assert!(Descriptor::decode_all(&payload, has_offset).count() <= payload.len() / 8);
        }
    }
}
