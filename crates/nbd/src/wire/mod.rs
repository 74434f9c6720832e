//! The bytes of the protocol, encoded and decoded without I/O. All integers are big-endian.

pub(crate) mod option;
pub(crate) mod reply;
pub(crate) mod request;

use crate::error::Violation;

/// Longest string the protocol allows, in bytes.
pub(crate) const MAX_STRING: usize = 4096;

/// Takes fixed-width fields off the front of a buffer.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| Violation::new("message too short"))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Violation> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Violation> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Violation> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Violation> {
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| Violation::new("message too short"))?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }
}

/// Text of a server made safe to show: bounded, valid, and free of control characters that could drive a terminal.
pub(crate) fn printable(text: &[u8]) -> String {
    let text = &text[..text.len().min(MAX_STRING)];
    String::from_utf8_lossy(text)
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
