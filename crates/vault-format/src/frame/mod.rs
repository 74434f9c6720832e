//! Frames: the unit that is compressed and sealed. Layout: docs/format/pack.md.
//!
//! The plain bytes of a frame are its parts (chunks or nodes) one behind another. Sealed is a
//! head of 8 bytes (codec, plain length) and the coded bytes, so a frame can be opened by its
//! location alone.

mod sample;

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

    /// Whether it is stored in another form than its plain bytes.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.codec != Codec::Raw
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
    /// For parts of frames.
    stream: Option<zstd::zstd_safe::DCtx<'static>>,
}

/// Compresses the plain bytes of a frame (at most [`FRAME_LIMIT`]) into `scratch`, unless that
/// gains too little.
#[must_use]
pub fn encode<'a>(plain: &'a [u8], level: i32, scratch: &'a mut Vec<u8>) -> Coded<'a> {
    let compressed = sample::may_gain(plain) && compress(plain, level, scratch);
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

/// A frame whose seal held, and whose bytes are not yet decompressed.
#[derive(Debug, Clone, Copy)]
pub struct Unsealed<'a> {
    codec: Codec,
    plain_len: usize,
    coded: &'a [u8],
}

/// Opens the seal of a frame that was read from `location`; `scratch` takes the coded bytes.
///
/// # Errors
/// [`ErrorKind::SealBroken`] when these are not the bytes that were sealed for this place.
pub fn unseal<'a>(
    key: &SealKey,
    location: &FrameLocation,
    stored: &[u8],
    scratch: &'a mut Vec<u8>,
) -> Result<Unsealed<'a>> {
    if stored.len() > FRAME_STORED_LIMIT {
        return Err(Error::new(ErrorKind::TooLarge, PART));
    }
    let offset = u64::from(location.offset);
    let sealed = key.open_to(Purpose::Frame, offset, &[], stored, scratch, PART)?;
    let mut reader = Reader::new(sealed, PART);
    let codec = match reader.u8()? {
        0 => Codec::Raw,
        1 => Codec::Zstd,
        _ => return Err(Error::malformed(PART)),
    };
    reader.reserved(3)?;
    let plain_len = reader.len32(FRAME_LIMIT)?;
    let coded = &sealed[HEAD_LEN..];
    if codec == Codec::Raw && coded.len() != plain_len {
        return Err(Error::malformed(PART));
    }
    Ok(Unsealed {
        codec,
        plain_len,
        coded,
    })
}

impl Unsealed<'_> {
    /// Length of its plain bytes, at most [`FRAME_LIMIT`].
    #[must_use]
    pub const fn plain_len(&self) -> usize {
        self.plain_len
    }

    /// Fills `out`, which is at most as long as the plain bytes, with the first of them: no more
    /// is decompressed than that takes.
    ///
    /// # Errors
    /// When the coded bytes are not what the head says. What `out` holds then is undefined.
    pub fn decode(&self, out: &mut [u8]) -> Result<()> {
        match self.codec {
            Codec::Raw => {
                let first = self.coded.get(..out.len()).ok_or(Error::malformed(PART))?;
                out.copy_from_slice(first);
                Ok(())
            }
            Codec::Zstd if out.len() == self.plain_len => decompress(self.coded, out),
            Codec::Zstd => decompress_first(self.coded, out),
        }
    }
}

/// Opens a frame that was read from `location`: all its plain bytes.
///
/// # Errors
/// As for [`unseal`] and [`Unsealed::decode`].
pub fn open(key: &SealKey, location: &FrameLocation, stored: &[u8]) -> Result<Vec<u8>> {
    let mut scratch = Vec::new();
    let unsealed = unseal(key, location, stored, &mut scratch)?;
    let mut plain = vec![0; unsealed.plain_len()];
    unsealed.decode(&mut plain)?;
    Ok(plain)
}

fn decompress(coded: &[u8], out: &mut [u8]) -> Result<()> {
    ZSTD.with_borrow_mut(|contexts| {
        let decompressor = match &mut contexts.decompressor {
            Some(made) => made,
            none => {
                none.insert(zstd::bulk::Decompressor::new().map_err(|_| Error::malformed(PART))?)
            }
        };
        match decompressor.decompress_to_buffer(coded, &mut *out) {
            Ok(len) if len == out.len() => Ok(()),
            _ => Err(Error::malformed(PART)),
        }
    })
}

/// Decompresses block by block, until `out` is full.
fn decompress_first(coded: &[u8], out: &mut [u8]) -> Result<()> {
    ZSTD.with_borrow_mut(|contexts| {
        let stream = match &mut contexts.stream {
            Some(made) => made,
            none => {
                let made = zstd::zstd_safe::DCtx::try_create();
                none.insert(made.ok_or(Error::malformed(PART))?)
            }
        };
        let reset = stream.reset(zstd::zstd_safe::ResetDirective::SessionOnly);
        reset.map_err(|_| Error::malformed(PART))?;
        let mut from = zstd::zstd_safe::InBuffer::around(coded);
        let wanted = out.len();
        let mut to = zstd::zstd_safe::OutBuffer::around(out);
        while to.pos() < wanted {
            let before = (from.pos, to.pos());
            let step = stream.decompress_stream(&mut to, &mut from);
            // The frame's end, or no progress: it is shorter than its head says.
            match step {
                Ok(left) if to.pos() == wanted || left > 0 && before != (from.pos, to.pos()) => {}
                _ => return Err(Error::malformed(PART)),
            }
        }
        Ok(())
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
