//! Reading a pack's footers: from the trailer backwards.

use std::ops::Range;

use crate::codec::{Reader, len_u32};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::FRAME_STORED_LIMIT;
use crate::id::FrameLocation;
use crate::keys::KeyRing;
use crate::limits::{FRAME_LIMIT, PACK_ENTRIES, PACK_FRAMES, PACK_LIMIT};
use crate::pack::{END_MAGIC, HEADER_LEN, PART, PUBLIC_ENTRY_LEN, PackHeader, TRAILER_LEN};
use crate::seal::{Purpose, TAG_LEN};

/// Where a pack's footers lie, as its trailer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailLayout {
    frames: usize,
    footer_at: usize,
    sealed_len: usize,
    size: usize,
}

impl TailLayout {
    /// Reads the last [`TRAILER_LEN`] bytes of a pack of `size` bytes.
    ///
    /// # Errors
    /// When they are no trailer, or one that does not fit the size.
    pub fn decode(trailer: &[u8], size: u64) -> Result<Self> {
        let size = usize::try_from(size)
            .ok()
            .filter(|size| *size <= PACK_LIMIT)
            .ok_or(Error::new(ErrorKind::TooLarge, PART))?;
        let mut reader = Reader::new(trailer, "pack trailer");
        let frames = reader.len32(PACK_FRAMES)?;
        let footer_at = reader.len32(PACK_LIMIT)?;
        let sealed_len = reader.len32(PACK_LIMIT)?;
        reader.reserved(4)?;
        reader.take(32)?;
        if reader.array()? != END_MAGIC {
            return Err(Error::new(ErrorKind::BadMagic, "pack trailer"));
        }
        reader.finish()?;
        let ends_at = footer_at + frames * PUBLIC_ENTRY_LEN + sealed_len + TRAILER_LEN;
        if footer_at < HEADER_LEN || ends_at != size {
            return Err(Error::malformed("pack trailer"));
        }
        Ok(Self {
            frames,
            footer_at,
            sealed_len,
            size,
        })
    }

    /// The bytes of the pack from the public footer to the end: what [`PackTail::decode`] needs.
    #[must_use]
    pub const fn tail(&self) -> Range<u64> {
        self.footer_at as u64..self.size as u64
    }
}

/// What everybody can know of a pack, checked against its public hash.
#[derive(Debug, Clone)]
pub struct PackTail {
    header: PackHeader,
    frames: Vec<PublicFrame>,
    aad: Vec<u8>,
    sealed: Vec<u8>,
}

/// A frame as the public footer lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicFrame {
    /// Where it lies.
    pub location: FrameLocation,
    /// BLAKE3 of its stored bytes.
    pub hash: [u8; 32],
}

/// What a key holder can know of a pack without opening its frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackContents {
    /// The frames, in order.
    pub frames: Vec<PackFrame>,
}

/// A frame and the parts in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackFrame {
    /// Where it lies.
    pub location: FrameLocation,
    /// Id and size in bytes of each part, in order.
    pub entries: Vec<([u8; 32], u32)>,
}

impl PackTail {
    /// Reads the header and the tail ([`TailLayout::tail`]) of a pack.
    ///
    /// # Errors
    /// When their hash does not match, or the frames do not fill the pack.
    pub fn decode(header: &[u8], tail: &[u8], layout: &TailLayout) -> Result<Self> {
        let split = tail
            .len()
            .checked_sub(TRAILER_LEN)
            .filter(|_| header.len() == HEADER_LEN);
        let split = split.ok_or(Error::new(ErrorKind::Truncated, PART))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(header);
        hasher.update(&tail[..split + 16]);
        if tail[split + 16..split + 48] != *hasher.finalize().as_bytes() {
            return Err(Error::new(ErrorKind::CheckFailed, "pack footer"));
        }
        let parsed = PackHeader::decode(header)?;
        let mut reader = Reader::new(&tail[..split], "pack footer");
        let public = reader.take(layout.frames * PUBLIC_ENTRY_LEN)?;
        let sealed = reader.take(layout.sealed_len)?;
        reader.finish()?;
        Ok(Self {
            header: parsed,
            frames: read_public(public, &parsed, layout)?,
            aad: [header, public].concat(),
            sealed: sealed.to_vec(),
        })
    }

    /// Reads the tail of a pack that is in memory whole.
    ///
    /// # Errors
    /// As for [`TailLayout::decode`] and [`Self::decode`].
    pub fn of_whole(pack: &[u8]) -> Result<Self> {
        let at = pack.len().checked_sub(TRAILER_LEN);
        let at = at.ok_or(Error::new(ErrorKind::Truncated, PART))?;
        let layout = TailLayout::decode(&pack[at..], pack.len() as u64)?;
        let header = pack
            .get(..HEADER_LEN)
            .ok_or(Error::new(ErrorKind::Truncated, PART))?;
        Self::decode(header, &pack[layout.footer_at..], &layout)
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &PackHeader {
        &self.header
    }

    /// The frames, in order, without gaps.
    #[must_use]
    pub fn frames(&self) -> &[PublicFrame] {
        &self.frames
    }

    /// Opens the sealed footer.
    ///
    /// # Errors
    /// [`ErrorKind::SealBroken`] when somebody without the key changed header or footers.
    pub fn open(mut self, ring: &KeyRing) -> Result<PackContents> {
        let key = ring.pack_key(&self.header.id, self.header.kind)?;
        let plain = key.open(
            Purpose::Footer,
            0,
            &self.aad,
            &mut self.sealed,
            "pack footer",
        )?;
        let mut reader = Reader::new(plain, "pack footer");
        let mut total = 0;
        let mut frames = Vec::with_capacity(self.frames.len());
        for frame in &self.frames {
            let count = usize::from(reader.u16()?);
            total += count;
            if total > PACK_ENTRIES {
                return Err(Error::new(ErrorKind::TooLarge, "pack footer"));
            }
            frames.push(PackFrame {
                location: frame.location,
                entries: read_entries(&mut reader, count)?,
            });
        }
        reader.finish()?;
        Ok(PackContents { frames })
    }
}

fn read_public(
    public: &[u8],
    header: &PackHeader,
    layout: &TailLayout,
) -> Result<Vec<PublicFrame>> {
    let mut reader = Reader::new(public, "pack footer");
    let mut frames = Vec::with_capacity(layout.frames);
    let mut offset = HEADER_LEN;
    for _ in 0..layout.frames {
        let length = reader.len32(FRAME_STORED_LIMIT)?;
        let hash = reader.array()?;
        if length <= TAG_LEN {
            return Err(Error::malformed("pack footer"));
        }
        frames.push(PublicFrame {
            location: FrameLocation {
                pack: header.id,
                offset: len_u32(offset),
                length: len_u32(length),
            },
            hash,
        });
        offset += length;
    }
    if offset == layout.footer_at {
        Ok(frames)
    } else {
        Err(Error::malformed("pack footer"))
    }
}

fn read_entries(reader: &mut Reader<'_>, count: usize) -> Result<Vec<([u8; 32], u32)>> {
    let mut plain_len = 0;
    let mut entries = Vec::with_capacity(count.min(reader.remaining() / 36));
    for _ in 0..count {
        let id = reader.array()?;
        let size = reader.len32(FRAME_LIMIT)?;
        plain_len += size;
        entries.push((id, len_u32(size)));
    }
    if plain_len > FRAME_LIMIT {
        return Err(Error::new(ErrorKind::TooLarge, "pack footer"));
    }
    Ok(entries)
}
