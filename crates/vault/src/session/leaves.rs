//! Leaves of the manifest that wait until the places of all their chunks are final.

use std::collections::VecDeque;
use std::ops::Range;

use tresor_vault_format::ChunkId;
use tresor_vault_format::limits::FAN_OUT;

use crate::known::{KnownChunks, Place};
use crate::tree::{ChunkUpdate, LeafUpdate};

/// A chunk as the stream knows it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Update {
    /// Not written: as in the base.
    #[default]
    Untouched,
    Zero,
    Data(ChunkId, Place),
}

enum Item {
    Leaf {
        index: u64,
        chunks: Box<[Update; FAN_OUT]>,
    },
    /// Whole leaves of zeros.
    Zeros(Range<u64>),
}

/// What the tree is to do next.
pub(crate) enum Ready {
    Leaf { index: u64, update: LeafUpdate },
    Zeros(Range<u64>),
}

#[derive(Default)]
pub(crate) struct LeafQueue {
    items: VecDeque<Item>,
}

impl LeafQueue {
    /// Notes one chunk, by its number in the stream. Numbers rise.
    pub(crate) fn set(&mut self, chunk: u64, update: Update) {
        let index = chunk / FAN_OUT as u64;
        let slot = usize::try_from(chunk % FAN_OUT as u64).unwrap_or(0);
        match self.items.back_mut() {
            Some(Item::Leaf {
                index: last,
                chunks,
            }) if *last == index => chunks[slot] = update,
            _ => {
                let mut chunks = Box::new([Update::Untouched; FAN_OUT]);
                chunks[slot] = update;
                self.items.push_back(Item::Leaf { index, chunks });
            }
        }
    }

    /// Notes leaves that are all zeros.
    pub(crate) fn set_zeros(&mut self, leaves: Range<u64>) {
        if !leaves.is_empty() {
            self.items.push_back(Item::Zeros(leaves));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// The first item, if its chunks have their final places. The last one may still change, and
    /// is given only when `all` is asked for.
    pub(crate) fn pop_ready(&mut self, known: &KnownChunks, all: bool) -> Option<Ready> {
        if self.items.len() < 2 && !all {
            return None;
        }
        let ready = match self.items.front()? {
            Item::Zeros(leaves) => Ready::Zeros(leaves.clone()),
            Item::Leaf { index, chunks } => {
                let update = resolve(chunks, known)?;
                Ready::Leaf {
                    index: *index,
                    update,
                }
            }
        };
        self.items.pop_front();
        Some(ready)
    }
}

fn resolve(chunks: &[Update; FAN_OUT], known: &KnownChunks) -> Option<LeafUpdate> {
    let mut update: LeafUpdate = Box::new([ChunkUpdate::Keep; FAN_OUT]);
    for (to, from) in update.iter_mut().zip(chunks) {
        *to = match from {
            Update::Untouched => ChunkUpdate::Keep,
            Update::Zero => ChunkUpdate::Zero,
            Update::Data(id, place) => ChunkUpdate::Data(known.resolve(*id, *place)?),
        };
    }
    Some(update)
}
