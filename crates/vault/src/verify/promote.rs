//! What a verification has seen, the next backup of this machine need not look at again.
//!
//! While it is watched, every chunk that is read back and is its own counts as verified, as if a backup
//! had met a claim of it. What this machine wrote, and what it verified before, is passed over.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tresor_vault_format::LeafChunk;

use crate::error::Result;
use crate::known::{self, KnownChunks};
use crate::read::{PlannedFrame, verified};
use crate::session::Protocol;
use crate::vault::{Inner, Vault};

/// Sees what is read, while somebody wants to know.
#[derive(Default)]
pub(crate) struct Witness {
    watches: AtomicBool,
    known: Mutex<Option<KnownChunks>>,
    seen: AtomicU64,
}

impl Witness {
    /// Takes in the chunks of a frame that was opened. Runs on the pool.
    pub(crate) fn saw(&self, vault: &Inner, frame: &PlannedFrame, plain: &Bytes) {
        let pack = &frame.location.pack;
        let is_news = self.watches.load(Ordering::Acquire)
            && !vault.trust.has_pack(pack)
            && vault.ring.is_of(pack.epoch(), vault.domain);
        if !is_news {
            return;
        }
        let right = |chunk: &&LeafChunk| verified(vault, plain, chunk).is_ok();
        let chunks = frame.chunks.iter().map(|(_, chunk)| chunk);
        let right: Vec<LeafChunk> = chunks.filter(right).copied().collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &mut *known {
            let new = |chunk: &LeafChunk| known.get(&chunk.id).is_none();
            let new: Vec<LeafChunk> = right.into_iter().filter(new).collect();
            self.seen.fetch_add(new.len() as u64, Ordering::Relaxed);
            known.verify(new);
        }
    }
}

impl Vault {
    /// From now on what is read back counts as verified by this machine, which keeps what it knows in
    /// `index_cache`, until [`Self::keep_verified`].
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn watch_verified(&self, index_cache: &Path) -> Result<()> {
        let inner: &Arc<Inner> = &self.inner;
        let known = known::load(inner, Protocol::default(), Some(index_cache), &[]).await?;
        let witness = &inner.witness;
        let has_claims = known.has_claims();
        *witness.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        witness.seen.store(0, Ordering::Relaxed);
        // Where nobody else writes there is nothing to learn.
        witness.watches.store(has_claims, Ordering::Release);
        Ok(())
    }

    /// Keeps what was seen for the sessions of this machine. Gives the number of chunks that others
    /// wrote and that count as known from now on.
    pub fn keep_verified(&self) -> u64 {
        let witness = &self.inner.witness;
        witness.watches.store(false, Ordering::Release);
        let known = witness
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut known) = known {
            known.keep_verified();
        }
        witness.seen.load(Ordering::Relaxed)
    }
}
