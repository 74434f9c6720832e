//! Which chunks the vault holds already, and where.

mod load;

pub(crate) use load::{entries_of, load};

use std::collections::HashMap;

use tresor_vault_format::limits::CHUNK_SIZE;
use tresor_vault_format::{ChunkId, FrameLocation, IndexEntry, LeafChunk};

/// A chunk's place: a frame by its number in the table, and the slot in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) frame: u32,
    pub(crate) slot: u8,
}

/// All chunks in memory, about 60 bytes each: right for a vault of some TiB. The only doors are
/// the methods below, so that a table on disk can take its place.
#[derive(Default)]
pub(crate) struct KnownChunks {
    places: HashMap<ChunkId, Place>,
    /// `None`: the frame was given out to this session and is not yet in a pack.
    frames: Vec<Option<FrameLocation>>,
}

impl KnownChunks {
    pub(crate) fn get(&self, id: &ChunkId) -> Option<Place> {
        self.places.get(id).copied()
    }

    /// A frame that is going to be written. Chunks may be given places in it at once, so that a
    /// second copy of a chunk, from whatever thread, finds the first.
    pub(crate) fn new_frame(&mut self) -> u32 {
        self.frames.push(None);
        u32::try_from(self.frames.len() - 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn insert(&mut self, id: ChunkId, place: Place) {
        self.places.entry(id).or_insert(place);
    }

    pub(crate) fn frame_written(&mut self, frame: u32, location: FrameLocation) {
        if let Some(known) = self.frames.get_mut(frame as usize) {
            *known = Some(location);
        }
    }

    /// The chunk as a leaf names it; `None` while its frame is not in a pack.
    pub(crate) fn resolve(&self, id: ChunkId, place: Place) -> Option<LeafChunk> {
        let frame = (*self.frames.get(place.frame as usize)?)?;
        Some(LeafChunk {
            id,
            frame,
            slot: place.slot,
        })
    }

    /// Adds what an index run or a pack's footer lists.
    pub(crate) fn extend(&mut self, entries: impl IntoIterator<Item = IndexEntry>) {
        let mut numbers = HashMap::new();
        for IndexEntry { id, location } in entries {
            let at = location.at as usize;
            if location.size as usize != CHUNK_SIZE || !at.is_multiple_of(CHUNK_SIZE) {
                continue;
            }
            let Ok(slot) = u8::try_from(at / CHUNK_SIZE) else {
                continue;
            };
            let frames = &mut self.frames;
            let frame = *numbers.entry(location.frame).or_insert_with(|| {
                frames.push(Some(location.frame));
                u32::try_from(frames.len() - 1).unwrap_or(u32::MAX)
            });
            self.insert(ChunkId(id), Place { frame, slot });
        }
    }
}
