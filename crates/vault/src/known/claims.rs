//! What others say to be in the vault, and which of it was seen to be true.
//!
//! # Invariants
//! - A claim is never a place ([`super::KnownChunks::get`] does not look at it).
//! - What was verified is an id that was made from the bytes that lie there, whatever had been
//!   claimed of them. So a claim beside it gains nothing by it.
//! - A pack of which something was claimed in vain is not asked about again, nor used, by this session.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use tresor_model::VaultId;
use tresor_vault_format::{ChunkId, DomainId, LeafChunk, PackId};

use super::KnownChunks;
use super::cache::Cache;
use super::stored::StoredChunks;
use super::table::TablePack;

/// Verified chunks that are kept in memory, at about 100 bytes each.
const MOST_IN_MEMORY: usize = 1 << 18;

/// Where tables are kept from one session to the next: the directory of all caches, and whose.
pub(super) type CachePlace = (PathBuf, VaultId, DomainId);

/// See the module.
pub(crate) struct Claims {
    tables: StoredChunks,
    /// Sizes of the packs whose claims the next session finds in its cache.
    kept: HashMap<PackId, u32>,
    verified: HashMap<ChunkId, LeafChunk>,
    doubted: HashSet<PackId>,
    place: Option<CachePlace>,
    most_in_memory: usize,
}

impl Claims {
    pub(super) fn new(tables: StoredChunks, place: Option<CachePlace>) -> Self {
        let kept = tables.kept_packs().map(|pack| (pack.id, pack.size));
        Self {
            kept: kept.collect(),
            tables,
            verified: HashMap::new(),
            doubted: HashSet::new(),
            place,
            most_in_memory: MOST_IN_MEMORY,
        }
    }

    #[cfg(test)]
    pub(super) fn none(vault: VaultId) -> Self {
        Self::new(StoredChunks::in_memory(vault), None)
    }

    pub(super) fn verified(&self, id: &ChunkId) -> Option<LeafChunk> {
        self.verified.get(id).copied()
    }

    pub(super) fn is_doubted(&self, pack: &PackId) -> bool {
        !self.doubted.is_empty() && self.doubted.contains(pack)
    }

    /// What was verified and another session may use.
    fn to_keep(&self) -> (Vec<LeafChunk>, Vec<TablePack>) {
        let kept = |pack: &PackId| self.kept.contains_key(pack) && !self.is_doubted(pack);
        let chunks = self.verified.values();
        let chunks: Vec<LeafChunk> = chunks
            .filter(|chunk| kept(&chunk.frame.pack))
            .copied()
            .collect();
        let packs: HashSet<PackId> = chunks.iter().map(|chunk| chunk.frame.pack).collect();
        let sized = packs.into_iter().filter_map(|id| {
            let size = *self.kept.get(&id)?;
            Some(TablePack { id, size })
        });
        let packs = sized.collect();
        (chunks, packs)
    }
}

impl KnownChunks {
    /// Whether anybody claims anything. Where one machine writes, nobody does.
    pub(crate) fn has_claims(&self) -> bool {
        !self.claims.tables.is_empty()
    }

    /// Where others say that a chunk lies that is not known.
    pub(crate) fn claim(&self, id: &ChunkId) -> Option<LeafChunk> {
        let claimed = self.claims.tables.find(id)?;
        let asks = !self.claims.is_doubted(&claimed.frame.pack) && self.get(id).is_none();
        asks.then_some(claimed)
    }

    /// Size of the pack in which somebody says that a chunk lies.
    pub(crate) fn size_of_claim(&self, claim: &LeafChunk) -> u64 {
        let found = self.claims.tables.find_with_pack(&claim.id);
        found.map_or(0, |(_, pack)| u64::from(pack.size))
    }

    /// Takes in what was made from the bytes that lie there.
    pub(crate) fn verify(&mut self, chunks: impl IntoIterator<Item = LeafChunk>) {
        for chunk in chunks {
            if self.get(&chunk.id).is_none() {
                self.claims.verified.insert(chunk.id, chunk);
            }
        }
        if self.claims.verified.len() > self.claims.most_in_memory {
            self.keep_verified();
            self.spill_verified();
        }
    }

    /// Nothing that is said of a pack counts any more. False when that was so before.
    pub(crate) fn doubt(&mut self, pack: PackId) -> bool {
        self.claims.doubted.insert(pack)
    }

    /// Keeps what was verified for other sessions. One that cannot be kept is verified again.
    pub(crate) fn keep_verified(&mut self) {
        let Some((dir, vault, domain)) = &self.claims.place else {
            return;
        };
        let (chunks, packs) = self.claims.to_keep();
        if chunks.is_empty() {
            return;
        }
        match Cache::keep_verified((dir.as_path(), *vault, *domain), chunks, packs) {
            Ok(true) => {}
            Ok(false) => tracing::info!("what was verified is not kept: another session writes"),
            Err(error) => tracing::warn!(%error, "what was verified is not kept"),
        }
    }

    /// Moves what was verified from memory into a table.
    fn spill_verified(&mut self) {
        let verified: Vec<LeafChunk> = self.claims.verified.values().copied().collect();
        match self.stored.add_of_session(verified) {
            Ok(()) => self.claims.verified.clear(),
            Err(error) => {
                tracing::warn!(%error, "verified chunks stay in memory");
                self.claims.most_in_memory = self.claims.most_in_memory.saturating_mul(2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tresor_vault_format::FrameLocation;

    use super::*;

    fn id(number: u32) -> ChunkId {
        ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    fn chunk(number: u32, pack: u8) -> LeafChunk {
        let frame = FrameLocation {
            pack: PackId([pack; 16]),
            offset: 48,
            length: 100,
        };
        let slot = 0;
        LeafChunk {
            id: id(number),
            frame,
            slot,
        }
    }

    fn pack(number: u8) -> TablePack {
        let (id, size) = (PackId([number; 16]), 1000);
        TablePack { id, size }
    }

    fn claimed(chunks: Vec<LeafChunk>, packs: Vec<TablePack>) -> KnownChunks {
        let vault = VaultId::generate();
        let mut tables = StoredChunks::in_memory(vault);
        tables.add(chunks, packs, false).unwrap();
        KnownChunks::new(StoredChunks::in_memory(vault), Claims::new(tables, None))
    }

    #[test]
    fn what_is_claimed_is_known_once_it_was_seen() {
        let mut known = claimed(vec![chunk(1, 1), chunk(2, 1)], vec![pack(1)]);
        assert!(known.has_claims());
        assert_eq!(known.get(&id(1)), None);
        assert_eq!(known.claim(&id(1)), Some(chunk(1, 1)));
        // What lies there is another chunk, which nobody had claimed.
        known.verify([chunk(1, 1), chunk(3, 1)]);
        assert!(known.get(&id(1)).is_some() && known.get(&id(3)).is_some());
        assert_eq!((known.get(&id(2)), known.claim(&id(1))), (None, None));
        assert!(known.claim(&id(2)).is_some());
    }

    #[test]
    fn a_doubted_pack_is_neither_asked_about_nor_used() {
        let mut known = claimed(vec![chunk(1, 1), chunk(2, 2)], vec![pack(1), pack(2)]);
        known.verify([chunk(4, 1)]);
        assert!(known.doubt(pack(1).id) && !known.doubt(pack(1).id));
        assert_eq!((known.get(&id(4)), known.claim(&id(1))), (None, None));
        assert!(known.claim(&id(2)).is_some());
    }

    #[test]
    fn what_was_moved_to_a_table_is_still_verified() {
        let mut known = claimed(vec![chunk(0, 1)], vec![pack(1)]);
        known.claims.most_in_memory = 10;
        (0..100).for_each(|number| known.verify([chunk(number, 1)]));
        assert!(known.claims.verified.len() <= 10);
        assert!((0..100).all(|number| known.get(&id(number)).is_some()));
    }
}
