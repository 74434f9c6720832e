//! Reading and writing little-endian fields.
//!
//! A [`Reader`] never reads past its slice and never allocates by a length it has not checked.

use crate::error::{Error, ErrorKind, Result};

/// Length of the BLAKE3 hash that ends every object but packs.
pub(crate) const CHECK_LEN: usize = 32;

/// Takes fields from the front of a slice.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    part: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8], part: &'static str) -> Self {
        Self { rest: bytes, part }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(Error::new(ErrorKind::Truncated, self.part))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(Error::new(ErrorKind::Truncated, self.part))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// A count or length, refused above `limit`.
    pub(crate) fn len32(&mut self, limit: usize) -> Result<usize> {
        let len = self.u32()?;
        match usize::try_from(len) {
            Ok(len) if len <= limit => Ok(len),
            _ => Err(Error::new(ErrorKind::TooLarge, self.part)),
        }
    }

    /// Magic and version at the front of every object.
    pub(crate) fn preamble(&mut self, magic: [u8; 8], newest: u16) -> Result<u16> {
        if self.array::<8>()? != magic {
            return Err(Error::new(ErrorKind::BadMagic, self.part));
        }
        match self.u16()? {
            version if (1..=newest).contains(&version) => Ok(version),
            found => Err(Error::new(ErrorKind::VersionUnknown { found }, self.part)),
        }
    }

    /// Bytes that a writer of this version leaves zero.
    pub(crate) fn reserved(&mut self, len: usize) -> Result<()> {
        if self.take(len)?.iter().all(|byte| *byte == 0) {
            Ok(())
        } else {
            Err(Error::malformed(self.part))
        }
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn finish(&self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::malformed(self.part))
        }
    }
}

/// Narrows a length that a writer has bounded already.
pub(crate) fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Ends an object with the hash of all its bytes, so that whoever has no key can tell damage.
pub(crate) fn append_check(object: &mut Vec<u8>) {
    let hash = blake3::hash(object);
    object.extend_from_slice(hash.as_bytes());
}

/// Checks the magic, the version and the hash; gives everything but the hash.
///
/// Magic and version come first: a newer version may check itself in another way.
pub(crate) fn checked<'a>(
    object: &'a [u8],
    magic: [u8; 8],
    newest: u16,
    part: &'static str,
) -> Result<&'a [u8]> {
    Reader::new(object, part).preamble(magic, newest)?;
    let split = object
        .len()
        .checked_sub(CHECK_LEN)
        .ok_or(Error::new(ErrorKind::Truncated, part))?;
    let (body, check) = object.split_at(split);
    if blake3::hash(body).as_bytes() == check {
        Ok(body)
    } else {
        Err(Error::new(ErrorKind::CheckFailed, part))
    }
}
