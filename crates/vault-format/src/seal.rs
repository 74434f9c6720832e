//! Sealing: AES-256-GCM with keys that are used for one object only.
//!
//! Every object (a pack, an index run, a session end …) has a key of its own, derived from
//! something random in it, so nonces may simply count.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::error::{Error, ErrorKind, Result};

/// Bytes that sealing adds.
pub(crate) const TAG_LEN: usize = 16;

/// What a nonce is for; together with the counter it is unique under one key.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum Purpose {
    /// A frame of a pack; the counter is its offset.
    Frame = 0,
    /// The sealed footer of a pack.
    Footer = 1,
    /// A block of an index run; the counter is its number.
    Block = 2,
    /// The fences of an index run.
    Fences = 3,
    /// The summary of a recovery point.
    Summary = 4,
    /// The record of a recovery point.
    Record = 5,
    /// A key ring.
    Ring = 6,
    /// A master key in a slot.
    Master = 7,
}

/// The key of one object.
pub struct SealKey(LessSafeKey);

impl SealKey {
    pub(crate) fn new(bytes: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, bytes).expect("an AES-256 key has 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Seals `buffer[start..]` in place and appends the tag.
    pub(crate) fn seal(
        &self,
        purpose: Purpose,
        counter: u64,
        aad: &[u8],
        buffer: &mut Vec<u8>,
        start: usize,
    ) {
        let tag = self
            .0
            .seal_in_place_separate_tag(
                nonce(purpose, counter),
                Aad::from(aad),
                &mut buffer[start..],
            )
            .expect("sealed parts are far below the cipher's limit of 64 GiB");
        buffer.extend_from_slice(tag.as_ref());
    }

    /// Opens `buffer` in place; gives the plain bytes at its front.
    pub(crate) fn open<'b>(
        &self,
        purpose: Purpose,
        counter: u64,
        aad: &[u8],
        buffer: &'b mut [u8],
        part: &'static str,
    ) -> Result<&'b mut [u8]> {
        self.0
            .open_in_place(nonce(purpose, counter), Aad::from(aad), buffer)
            .map_err(|_| Error::new(ErrorKind::SealBroken, part))
    }

    /// Opens `sealed` into `out`; gives the plain bytes there.
    pub(crate) fn open_to<'b>(
        &self,
        purpose: Purpose,
        counter: u64,
        aad: &[u8],
        sealed: &[u8],
        out: &'b mut Vec<u8>,
        part: &'static str,
    ) -> Result<&'b [u8]> {
        let broken = Error::new(ErrorKind::SealBroken, part);
        let split = sealed.len().checked_sub(TAG_LEN).ok_or(broken)?;
        let (text, tag) = sealed.split_at(split);
        // What an earlier frame left is overwritten.
        out.resize(text.len(), 0);
        let nonce = nonce(purpose, counter);
        let opened = self
            .0
            .open_separate_gather(nonce, Aad::from(aad), text, tag, out);
        opened.map_err(|_| broken)?;
        Ok(out)
    }
}

fn nonce(purpose: Purpose, counter: u64) -> Nonce {
    let mut bytes = [0_u8; 12];
    bytes[0] = purpose as u8;
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}
