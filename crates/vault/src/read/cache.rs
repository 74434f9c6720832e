//! Opened frames that were read a moment ago: the nodes of a tree lie together in few frames,
//! and small reads of a disk come close to each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tresor_vault_format::limits::FRAME_LIMIT;
use tresor_vault_format::{FrameLocation, PackKind, name};

use crate::error::{Error, Result};
use crate::read::open::{Memory, Opened, open};
use crate::vault::Inner;

/// Bytes of nodes that are kept: the manifest of some 20 GiB of a disk that is read all over.
const TREE_LIMIT: usize = 16 << 20;
/// Bytes of data that are kept: eight frames, for reads that come close to each other.
const DATA_LIMIT: usize = 8 << 20;

/// What takes no longer than a few hundred µs to decompress is not worth a way to another thread and
/// back, which would take as long on a machine with something to do.
const AT_ONCE: usize = FRAME_LIMIT / 2;

/// Nodes and data apart: reads all over a disk must not drive out the nodes that lead to it.
pub(crate) struct FrameCache {
    tree: Mutex<State>,
    data: Mutex<State>,
}

impl Default for FrameCache {
    fn default() -> Self {
        Self {
            tree: Mutex::new(State::new(TREE_LIMIT)),
            data: Mutex::new(State::new(DATA_LIMIT)),
        }
    }
}

struct State {
    frames: HashMap<FrameLocation, (u64, Opened)>,
    bytes: usize,
    clock: u64,
    limit: usize,
}

impl FrameCache {
    fn of(&self, kind: PackKind) -> MutexGuard<'_, State> {
        let state = match kind {
            PackKind::Tree => &self.tree,
            PackKind::Data => &self.data,
        };
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(limit: usize) -> Self {
        Self {
            frames: HashMap::new(),
            bytes: 0,
            clock: 0,
            limit,
        }
    }

    /// What is there of a frame: all of it, or its front.
    fn get(&mut self, location: &FrameLocation) -> Option<Opened> {
        self.clock += 1;
        let (used, opened) = self.frames.get_mut(location)?;
        *used = self.clock;
        Some(opened.clone())
    }

    fn insert(&mut self, location: FrameLocation, opened: Opened) {
        self.clock += 1;
        self.bytes += opened.plain.len();
        if let Some((_, old)) = self.frames.insert(location, (self.clock, opened)) {
            self.bytes -= old.plain.len();
        }
        while self.bytes > self.limit {
            // A few hundred entries at most: looking at all of them costs less than a read.
            let oldest = self.frames.iter().min_by_key(|(_, (used, _))| *used);
            let Some(oldest) = oldest.map(|(location, _)| *location) else {
                break;
            };
            if let Some((_, old)) = self.frames.remove(&oldest) {
                self.bytes -= old.plain.len();
            }
        }
    }
}

/// Reads and opens one frame: its first `needed` bytes or more, where it has so many.
pub(crate) async fn frame(
    vault: &Arc<Inner>,
    at: &FrameLocation,
    kind: PackKind,
    needed: usize,
) -> Result<Bytes> {
    let there = vault.cache.of(kind).get(at);
    let needed = match there {
        Some(opened) if opened.whole || opened.plain.len() >= needed => return Ok(opened.plain),
        // Somebody reads on: step by step would decompress its front again and again.
        Some(_) => FRAME_LIMIT,
        None => needed,
    };
    let object = name::pack(&at.pack);
    let start = u64::from(at.offset);
    let stored = vault
        .store
        .get_range(&object, start..start + u64::from(at.length))
        .await?;
    let (of, location) = (Arc::clone(vault), *at);
    let open = move || open(&of, &location, kind, &stored, (needed, Memory::Own));
    let opened = if needed <= AT_ONCE || kind == PackKind::Tree {
        open()?
    } else {
        let opened = vault.pool.run(open).await;
        opened.map_err(|error| Error::system("open a frame").because(error))??
    };
    vault.cache.of(kind).insert(*at, opened.clone());
    Ok(opened.plain)
}
