//! Frames: the unit that is compressed and sealed. Layout: docs/format/pack.md.
//!
//! The plain bytes of a frame are its parts (chunks or nodes) one behind another. Sealed is a
//! head of 8 bytes (codec, plain length) and the coded bytes, so a frame can be opened by its
//! location alone.

use std::cell::RefCell;

use crate::codec::{Reader, len_u32};
use crate::error::{Error, ErrorKind, Result};
use crate::id::FrameLocation;
use crate::limits::FRAME_LIMIT;
use crate::seal::{Purpose, SealKey, TAG_LEN};

const PART: &str = "frame";
/// Bytes before the coded ones.
pub(crate) const HEAD_LEN: usize = 8;
/// Most bytes that a frame takes in a pack.
pub const FRAME_STORED_LIMIT: usize = FRAME_LIMIT + HEAD_LEN + TAG_LEN;

/// How the bytes of a frame are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As they are: compression gained less than 3 %.
    Raw,
    /// One zstd frame.
    Zstd,
}

/// A frame that is coded and not yet sealed.
#[derive(Debug, Clone, Copy)]
pub struct Coded<'a> {
    pub(crate) codec: Codec,
    pub(crate) plain_len: usize,
    pub(crate) bytes: &'a [u8],
}

impl Coded<'_> {
    /// The bytes it will take in a pack.
    #[must_use]
    pub const fn stored_len(&self) -> usize {
        HEAD_LEN + self.bytes.len() + TAG_LEN
    }

    pub(crate) fn head(&self) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        head[0] = match self.codec {
            Codec::Raw => 0,
            Codec::Zstd => 1,
        };
        head[4..].copy_from_slice(&len_u32(self.plain_len).to_le_bytes());
        head
    }
}

thread_local! {
    /// Contexts of zstd are large; one of each kind for each thread.
    static ZSTD: RefCell<Contexts> = RefCell::new(Contexts::default());
}

#[derive(Default)]
struct Contexts {
    compressor: Option<(i32, zstd::bulk::Compressor<'static>)>,
    decompressor: Option<zstd::bulk::Decompressor<'static>>,
}

/// Compresses the plain bytes of a frame (at most [`FRAME_LIMIT`]) into `scratch`, unless that
/// gains too little.
#[must_use]
pub fn encode<'a>(plain: &'a [u8], level: i32, scratch: &'a mut Vec<u8>) -> Coded<'a> {
    let compressed = compress(plain, level, scratch);
    // 3 %: less is not worth the time that reading it back costs.
    if compressed && scratch.len() < plain.len() - plain.len() / 32 {
        Coded {
            codec: Codec::Zstd,
            plain_len: plain.len(),
            bytes: scratch,
        }
    } else {
        Coded {
            codec: Codec::Raw,
            plain_len: plain.len(),
            bytes: plain,
        }
    }
}

/// Whether it worked; when zstd fails (out of memory) the frame is stored raw.
fn compress(plain: &[u8], level: i32, out: &mut Vec<u8>) -> bool {
    ZSTD.with_borrow_mut(|contexts| {
        if contexts
            .compressor
            .as_ref()
            .is_none_or(|(of, _)| *of != level)
        {
            contexts.compressor = zstd::bulk::Compressor::new(level)
                .ok()
                .map(|made| (level, made));
        }
        let Some((_, compressor)) = &mut contexts.compressor else {
            return false;
        };
        out.clear();
        out.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        compressor.compress_to_buffer(plain, out).is_ok()
    })
}

/// Opens a frame that was read from `location`: decrypts in place and decompresses.
///
/// # Errors
/// [`ErrorKind::SealBroken`] when these are not the bytes that were sealed for this place.
pub fn open(key: &SealKey, location: &FrameLocation, mut stored: Vec<u8>) -> Result<Vec<u8>> {
    if stored.len() > FRAME_STORED_LIMIT {
        return Err(Error::new(ErrorKind::TooLarge, PART));
    }
    let offset = u64::from(location.offset);
    let sealed = key.open(Purpose::Frame, offset, &[], &mut stored, PART)?;
    let mut reader = Reader::new(sealed, PART);
    let codec = reader.u8()?;
    reader.reserved(3)?;
    let plain_len = reader.len32(FRAME_LIMIT)?;
    let coded_len = reader.remaining();
    match codec {
        0 if coded_len == plain_len => {
            stored.truncate(HEAD_LEN + coded_len);
            stored.drain(..HEAD_LEN);
            Ok(stored)
        }
        1 => decompress(&sealed[HEAD_LEN..], plain_len),
        _ => Err(Error::malformed(PART)),
    }
}

fn decompress(coded: &[u8], plain_len: usize) -> Result<Vec<u8>> {
    ZSTD.with_borrow_mut(|contexts| {
        let decompressor = match &mut contexts.decompressor {
            Some(made) => made,
            none => {
                none.insert(zstd::bulk::Decompressor::new().map_err(|_| Error::malformed(PART))?)
            }
        };
        let mut plain = Vec::with_capacity(plain_len);
        match decompressor.decompress_to_buffer(coded, &mut plain) {
            Ok(len) if len == plain_len => Ok(plain),
            _ => Err(Error::malformed(PART)),
        }
    })
}

/// Takes the plain bytes of a frame as they are: manifest nodes are mostly ids, which do not
/// compress.
#[must_use]
pub const fn raw(plain: &[u8]) -> Coded<'_> {
    Coded {
        codec: Codec::Raw,
        plain_len: plain.len(),
        bytes: plain,
    }
}
