//! Which chunks the vault holds already, and where.
//!
//! What the vault held when the session began is in sorted tables ([`stored`]), on disk where the
//! session was given a directory for them ([`cache`]); what the session itself stores is in memory,
//! and goes into a table of its own when it becomes much. So memory is some 11 bits for each chunk
//! of the vault, and a session that finds the tables of the last one reads only what is new since.
//!
//! # Invariant
//! A chunk is known only when this machine wrote it, or has seen that its bytes are there and its
//! own. What index runs and footers of others say is a *claim* ([`claims`]): anybody who has the
//! domain's key can say that a pack holds a chunk. [`crate::session`] looks before it relies on one.

mod cache;
mod claims;
mod load;
mod measure;
mod packs;
mod said;
mod stored;
mod table;

pub(crate) use cache::cache_of;
pub(crate) use load::{
    entries_of, list_names, load, read_contents, read_footer, read_pack, read_run,
};
pub use measure::IndexProbe;
pub(crate) use packs::{ListedPacks, list_packs};
pub(crate) use table::TablePack;

use std::collections::HashMap;

use tresor_vault_format::{ChunkId, FrameLocation, LeafChunk};

use self::claims::Claims;
use self::stored::StoredChunks;

/// Chunks of the session that are kept in memory, at about 80 bytes each.
const MOST_IN_MEMORY: usize = 1 << 20;

/// A chunk's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a pack.
    Stored {
        /// The frame.
        frame: FrameLocation,
        /// The chunk's number in it.
        slot: u8,
    },
    /// In a frame of this session, which may not yet be in a pack.
    Session {
        /// The frame's number.
        frame: u32,
        /// The chunk's number in it.
        slot: u8,
    },
}

/// All chunks that need not be stored again, and those of which others say so.
pub(crate) struct KnownChunks {
    /// What this machine wrote or verified in earlier sessions.
    stored: StoredChunks,
    claims: Claims,
    session: HashMap<ChunkId, (u32, u8)>,
    /// The frames of this session; `None`: not yet in a pack.
    frames: Vec<Option<FrameLocation>>,
    most_in_memory: usize,
}

impl KnownChunks {
    fn new(stored: StoredChunks, claims: Claims) -> Self {
        Self {
            stored,
            claims,
            session: HashMap::new(),
            frames: Vec::new(),
            most_in_memory: MOST_IN_MEMORY,
        }
    }

    pub(crate) fn get(&self, id: &ChunkId) -> Option<Place> {
        if let Some((frame, slot)) = self.session.get(id).copied() {
            return Some(Place::Session { frame, slot });
        }
        let chunk = self.claims.verified(id).or_else(|| self.stored.find(id))?;
        let LeafChunk { frame, slot, .. } = chunk;
        let place = Place::Stored { frame, slot };
        (!self.claims.is_doubted(&frame.pack)).then_some(place)
    }

    /// A frame that is going to be written. Chunks may be given places in it at once, so that a
    /// second copy of a chunk, from whatever thread, finds the first.
    pub(crate) fn new_frame(&mut self) -> u32 {
        self.frames.push(None);
        u32::try_from(self.frames.len() - 1).unwrap_or(u32::MAX)
    }

    /// Gives a chunk that is not known a place in a frame of this session.
    pub(crate) fn insert(&mut self, id: ChunkId, frame: u32, slot: u8) -> Place {
        self.session.insert(id, (frame, slot));
        Place::Session { frame, slot }
    }

    pub(crate) fn frame_written(&mut self, frame: u32, location: FrameLocation) {
        if let Some(known) = self.frames.get_mut(frame as usize) {
            *known = Some(location);
        }
        if self.session.len() > self.most_in_memory {
            self.spill();
        }
    }

    /// The chunk as a leaf names it; `None` while its frame is not in a pack.
    pub(crate) fn resolve(&self, id: ChunkId, place: Place) -> Option<LeafChunk> {
        let (frame, slot) = match place {
            Place::Stored { frame, slot } => (frame, slot),
            Place::Session { frame, slot } => (self.location(frame)?, slot),
        };
        Some(LeafChunk { id, frame, slot })
    }

    fn location(&self, frame: u32) -> Option<FrameLocation> {
        *self.frames.get(frame as usize)?
    }

    /// Moves what lies in packs from memory into a table. When there is no room for one, it stays
    /// in memory, and the next try waits until there is twice as much.
    fn spill(&mut self) {
        let in_packs: Vec<LeafChunk> = self
            .session
            .iter()
            .filter_map(|(id, (frame, slot))| {
                let (frame, slot) = (self.location(*frame)?, *slot);
                Some(LeafChunk {
                    id: *id,
                    frame,
                    slot,
                })
            })
            .collect();
        match self.stored.add_of_session(in_packs.clone()) {
            Ok(()) => in_packs.iter().for_each(|chunk| {
                self.session.remove(&chunk.id);
            }),
            Err(error) => {
                tracing::warn!(%error, "the chunks of this session stay in memory");
                self.most_in_memory = self.most_in_memory.saturating_mul(2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tresor_model::VaultId;
    use tresor_vault_format::PackId;

    use super::*;

    fn id(number: u32) -> ChunkId {
        ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    #[test]
    fn what_was_moved_to_a_table_is_still_known() {
        let vault = VaultId::generate();
        let claims = Claims::none(vault);
        let mut known = KnownChunks::new(StoredChunks::in_memory(vault), claims);
        known.most_in_memory = 100;
        for number in 0..64 {
            let frame = known.new_frame();
            (0..16).for_each(|slot| {
                known.insert(id(number * 16 + u32::from(slot)), frame, slot);
            });
            let location = FrameLocation {
                pack: PackId([7; 16]),
                offset: number,
                length: 9,
            };
            // The last one stays open: its chunks have no place in a pack yet.
            if number < 63 {
                known.frame_written(frame, location);
            }
        }
        assert!(
            known.session.len() < 200,
            "{} in memory",
            known.session.len()
        );
        for number in 0..64 * 16 {
            let place = known.get(&id(number)).expect("known");
            let chunk = known.resolve(id(number), place);
            let expected = (number < 63 * 16).then_some((number / 16, number % 16));
            let found = chunk.map(|chunk| (chunk.frame.offset, u32::from(chunk.slot)));
            assert_eq!(found, expected);
        }
        assert_eq!(known.get(&id(99_999)), None);
    }
}
