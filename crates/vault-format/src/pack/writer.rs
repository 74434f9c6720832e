//! Building a pack in memory.

use tresor_model::SessionId;

use crate::codec::len_u32;
use crate::error::Result;
use crate::frame::Coded;
use crate::id::{FrameLocation, PackId};
use crate::keys::KeyRing;
use crate::limits::{PACK_ENTRIES, PACK_FRAMES, PACK_LIMIT};
use crate::pack::{
    END_MAGIC, HEADER_LEN, PUBLIC_ENTRY_LEN, PackContents, PackFrame, PackHeader, PackKind,
    TRAILER_LEN,
};
use crate::seal::{Purpose, SealKey, TAG_LEN};

/// A pack under construction.
pub struct PackWriter {
    header: PackHeader,
    key: SealKey,
    body: Vec<u8>,
    public: Vec<u8>,
    frames: Vec<PackFrame>,
    entries: usize,
}

/// A pack, ready to be stored.
pub struct FinishedPack {
    /// Its header.
    pub header: PackHeader,
    /// The object's bytes.
    pub bytes: Vec<u8>,
    /// What it holds.
    pub contents: PackContents,
}

impl PackWriter {
    /// An empty pack. `body` is the memory for its bytes; what is in it is dropped.
    ///
    /// # Errors
    /// When the ring has no key of the id's number.
    pub fn new(
        id: PackId,
        kind: PackKind,
        writer: SessionId,
        ring: &KeyRing,
        mut body: Vec<u8>,
    ) -> Result<Self> {
        let header = PackHeader { id, kind, writer };
        body.clear();
        body.extend_from_slice(&header.encode());
        Ok(Self {
            header,
            key: ring.pack_key(&id, kind)?,
            body,
            public: Vec::new(),
            frames: Vec::new(),
            entries: 0,
        })
    }

    /// Whether a frame of `stored` bytes and `entries` parts still fits into the format's limits.
    #[must_use]
    pub fn has_room(&self, stored: usize, entries: usize) -> bool {
        self.frames.len() < PACK_FRAMES
            && self.entries + entries <= PACK_ENTRIES
            && self.size_when_finished() + stored + PUBLIC_ENTRY_LEN + 2 + 36 * entries
                <= PACK_LIMIT
    }

    /// The bytes of the object if it were finished now.
    #[must_use]
    pub fn size_when_finished(&self) -> usize {
        let sealed = 2 * self.frames.len() + 36 * self.entries + TAG_LEN;
        self.body.len() + self.public.len() + sealed + TRAILER_LEN
    }

    /// Whether there is no frame.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Seals a frame and appends it. `entries` are the ids and sizes of its parts, in order.
    pub fn append(&mut self, coded: &Coded<'_>, entries: Vec<([u8; 32], u32)>) -> FrameLocation {
        let start = self.body.len();
        self.body.extend_from_slice(&coded.head());
        self.body.extend_from_slice(coded.bytes);
        self.key
            .seal(Purpose::Frame, start as u64, &[], &mut self.body, start);
        let stored = &self.body[start..];
        let location = FrameLocation {
            pack: self.header.id,
            offset: len_u32(start),
            length: len_u32(stored.len()),
        };
        self.public
            .extend_from_slice(&location.length.to_le_bytes());
        self.public
            .extend_from_slice(blake3::hash(stored).as_bytes());
        self.entries += entries.len();
        self.frames.push(PackFrame { location, entries });
        location
    }

    /// Adds the footers.
    #[must_use]
    pub fn finish(self) -> FinishedPack {
        let Self {
            header,
            key,
            mut body,
            public,
            frames,
            ..
        } = self;
        let footer_at = body.len();
        body.extend_from_slice(&public);
        let sealed_at = body.len();
        for frame in &frames {
            let count = u16::try_from(frame.entries.len()).unwrap_or(u16::MAX);
            body.extend_from_slice(&count.to_le_bytes());
            for (id, size) in &frame.entries {
                body.extend_from_slice(id);
                body.extend_from_slice(&size.to_le_bytes());
            }
        }
        let aad = [&body[..HEADER_LEN], &body[footer_at..sealed_at]].concat();
        key.seal(Purpose::Footer, 0, &aad, &mut body, sealed_at);
        let sealed_len = body.len() - sealed_at;
        for field in [frames.len(), footer_at, sealed_len, 0] {
            body.extend_from_slice(&len_u32(field).to_le_bytes());
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&body[..HEADER_LEN]);
        hasher.update(&body[footer_at..]);
        body.extend_from_slice(hasher.finalize().as_bytes());
        body.extend_from_slice(&END_MAGIC);
        FinishedPack {
            header,
            bytes: body,
            contents: PackContents { frames },
        }
    }
}
