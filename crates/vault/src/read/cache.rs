//! Opened frames that were read a moment ago: the nodes of a tree lie together in few frames,
//! and small reads of a disk come close to each other.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tresor_vault_format::{FrameLocation, PackKind, frame, name};

use crate::error::{Error, Result};
use crate::vault::Inner;

/// Bytes that the cache may hold: some hundred frames of nodes beside eight of data.
const LIMIT: usize = 16 << 20;

#[derive(Default)]
pub(crate) struct FrameCache {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    frames: HashMap<FrameLocation, (u64, Bytes)>,
    bytes: usize,
    clock: u64,
}

impl FrameCache {
    fn get(&self, location: &FrameLocation) -> Option<Bytes> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let now = state.clock;
        let (used, plain) = state.frames.get_mut(location)?;
        *used = now;
        Some(plain.clone())
    }

    fn insert(&self, location: FrameLocation, plain: Bytes) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let now = state.clock;
        state.bytes += plain.len();
        if let Some((_, old)) = state.frames.insert(location, (now, plain)) {
            state.bytes -= old.len();
        }
        while state.bytes > LIMIT {
            // A few hundred entries at most: looking at all of them costs less than a read.
            let oldest = state.frames.iter().min_by_key(|(_, (used, _))| *used);
            let Some(oldest) = oldest.map(|(location, _)| *location) else {
                break;
            };
            if let Some((_, old)) = state.frames.remove(&oldest) {
                state.bytes -= old.len();
            }
        }
    }
}

/// Reads and opens one frame.
pub(crate) async fn frame(vault: &Inner, at: &FrameLocation, kind: PackKind) -> Result<Bytes> {
    if let Some(plain) = vault.cache.get(at) {
        return Ok(plain);
    }
    let object = name::pack(&at.pack);
    let start = u64::from(at.offset);
    let stored = vault
        .store
        .get_range(&object, start..start + u64::from(at.length))
        .await?;
    let key = vault
        .ring
        .pack_key(&at.pack, kind)
        .map_err(|error| Error::format(&object, error))?;
    let location = *at;
    let opened = vault
        .pool
        .run(move || frame::open(&key, &location, Vec::from(stored)))
        .await;
    let opened = opened.map_err(|error| Error::system("open a frame").because(error))?;
    let plain = Bytes::from(opened.map_err(|error| Error::format(&object, error))?);
    vault.cache.insert(*at, plain.clone());
    Ok(plain)
}
