//! What is live in each pack.
//!
//! # Memory
//! Eight bytes for each frame that holds a live chunk, a bit for each 64 bytes of a tree pack;
//! nothing for each chunk or node. docs/format/commit-protocol.md does the sum.

use std::collections::HashMap;

use tresor_vault_format::{LeafChunk, Location, PackId};

/// Nodes are longer than this, and tree frames are stored as they are: so no two of them begin in
/// the same one.
const NODE_GRAIN: u32 = 64;
/// Lengths of frames are kept in units of this, rounded up.
const LENGTH_GRAIN: u32 = 32;

/// A frame of a data pack with live chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LiveFrame {
    pub(super) offset: u32,
    /// Bit i: chunk i is live.
    pub(super) chunks: u16,
    length: u16,
}

/// What is live in a pack.
#[derive(Debug, Default)]
pub(super) struct LivePack {
    /// By offset.
    frames: Vec<LiveFrame>,
    /// Bit i: the node that begins in grain i is live.
    nodes: Vec<u64>,
    node_bytes: u64,
}

/// What is live in a vault.
#[derive(Debug, Default)]
pub(super) struct Live {
    packs: HashMap<PackId, LivePack>,
}

impl Live {
    pub(super) fn chunk(&mut self, chunk: &LeafChunk) {
        let pack = self.packs.entry(chunk.frame.pack).or_default();
        let offset = chunk.frame.offset;
        let bit = 1_u16.checked_shl(u32::from(chunk.slot)).unwrap_or(0);
        match pack
            .frames
            .binary_search_by_key(&offset, |frame| frame.offset)
        {
            Ok(at) => pack.frames[at].chunks |= bit,
            Err(at) => {
                let length = chunk.frame.length.div_ceil(LENGTH_GRAIN);
                pack.frames.insert(
                    at,
                    LiveFrame {
                        offset,
                        chunks: bit,
                        length: u16::try_from(length).unwrap_or(u16::MAX),
                    },
                );
            }
        }
    }

    /// Notes a node; says whether it is new.
    pub(super) fn node(&mut self, location: &Location) -> bool {
        let pack = self.packs.entry(location.frame.pack).or_default();
        let (word, bit) = grain_of(location);
        if pack.nodes.len() <= word {
            pack.nodes.resize(word + 1, 0);
        }
        let new = pack.nodes[word] & bit == 0;
        if new {
            pack.nodes[word] |= bit;
            pack.node_bytes += u64::from(location.size);
        }
        new
    }

    pub(super) fn has_node(&self, location: &Location) -> bool {
        let pack = self.pack(&location.frame.pack);
        pack.is_some_and(|pack| pack.has_node(location))
    }

    pub(super) fn pack(&self, id: &PackId) -> Option<&LivePack> {
        self.packs.get(id)
    }

    pub(super) fn packs(&self) -> impl Iterator<Item = &PackId> {
        self.packs.keys()
    }
}

impl LivePack {
    /// Stored bytes that are live, about; never much too many.
    pub(super) fn about(&self) -> u64 {
        let of = |frame: &LiveFrame| {
            let length = u64::from(frame.length) * u64::from(LENGTH_GRAIN);
            length * u64::from(frame.chunks.count_ones()) / 16
        };
        self.frames.iter().map(of).sum::<u64>() + self.node_bytes
    }

    pub(super) fn has_chunk(&self, location: &Location, slot: u32) -> bool {
        let offset = location.frame.offset;
        let found = self
            .frames
            .binary_search_by_key(&offset, |frame| frame.offset);
        found.is_ok_and(|at| self.frames[at].chunks >> slot.min(15) & 1 == 1)
    }

    pub(super) fn has_node(&self, location: &Location) -> bool {
        let (word, bit) = grain_of(location);
        self.nodes.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

fn grain_of(location: &Location) -> (usize, u64) {
    let grain = location.frame.offset.saturating_add(location.at) / NODE_GRAIN;
    ((grain / 64) as usize, 1 << (grain % 64))
}

#[cfg(test)]
mod tests {
    use tresor_vault_format::{ChunkId, FrameLocation};

    use super::*;

    fn frame(offset: u32) -> FrameLocation {
        FrameLocation {
            pack: PackId([1; 16]),
            offset,
            length: 1600,
        }
    }

    #[test]
    fn chunks_and_nodes_count_once() {
        let mut live = Live::default();
        for (offset, slot) in [(4000, 3), (48, 0), (4000, 3), (4000, 15)] {
            live.chunk(&LeafChunk {
                id: ChunkId([0; 32]),
                frame: frame(offset),
                slot,
            });
        }
        let node = |offset, at| Location {
            frame: frame(offset),
            at,
            size: 100,
        };
        let pack = live.pack(&PackId([1; 16])).expect("it is there");
        assert_eq!(pack.about(), 100 + 200);
        assert!(pack.has_chunk(&node(4000, 0), 15) && !pack.has_chunk(&node(4000, 0), 1));
        assert!(!pack.has_chunk(&node(48, 0), 15));
        // The shortest node has 71 bytes.
        assert!(live.node(&node(48, 0)) && live.node(&node(48, 71)) && !live.node(&node(48, 0)));
        let pack = live.pack(&PackId([1; 16])).expect("it is there");
        assert!(pack.has_node(&node(48, 71)) && !pack.has_node(&node(48, 200)));
        assert_eq!(size_of::<LiveFrame>(), 8);
    }
}
