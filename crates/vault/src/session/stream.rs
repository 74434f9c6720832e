//! Writing one stream.
//!
//! # Order and pace
//! `write` hands the bytes to the pool for the zero test and the ids, and takes the results in
//! the order of the offsets: so chunks get their places, and leaves their chunks, without a lock
//! over more than one lookup. It returns late when the pool, the compressors or the storage are
//! behind; what it holds is bounded by [`HASH_AHEAD`] and one frame. What others claim to have stored
//! of the chunks is looked at meanwhile ([`super::claims`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tresor_model::{Extent, StreamName, StreamRecord};
use tresor_vault_format::limits::{CHUNK_SIZE, FAN_OUT};
use tresor_vault_format::{ChunkId, IdKey};

use crate::chunk::chunk_id;
use crate::error::{Error, Result};
use crate::session::core::Core;
use crate::session::frames::OpenFrame;
use crate::session::leaves::{LeafQueue, Ready, Update};
use crate::tree::TreeWriter;

const CHUNK: u64 = CHUNK_SIZE as u64;
/// Bytes that may wait for their ids: enough to keep the pool busy while one write is placed.
const HASH_AHEAD: usize = 8 << 20;
/// Leaves (4 MiB of the stream each) that may wait for a frame that does not fill up; beyond
/// that it is sent half full.
const LEAVES_AHEAD: usize = 256;
/// How often, and after what pause, a finishing stream looks again for a chunk whose frame another
/// stream had in its hands: a minute in all, beyond which that stream is stuck.
const FLUSHES: u32 = 6000;
const FLUSH_AGAIN: Duration = Duration::from_millis(10);

/// What a stream's writing moved, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// Given to `write`.
    pub read: u64,
    /// Of these, all zeros.
    pub zero: u64,
    /// Of these, not in the vault before (and not twice in this session).
    pub new: u64,
    /// Stored for them, compressed and sealed, manifest included.
    pub stored: u64,
}

/// Writes a stream in rising order.
pub struct StreamWriter {
    core: Arc<Core>,
    name: StreamName,
    size: u64,
    position: u64,
    hashing: VecDeque<Hashing>,
    hashing_bytes: usize,
    frame: Arc<OpenFrame>,
    leaves: LeafQueue,
    tree: TreeWriter,
    stored: Arc<AtomicU64>,
    stats: StreamStats,
}

/// Bytes whose ids are being made.
struct Hashing {
    offset: u64,
    bytes: Bytes,
    ids: Ids,
}

/// The ids of chunks, `None` for one of zeros.
type ChunkIds = Vec<Option<ChunkId>>;

/// Ids on their way.
enum Ids {
    Made(oneshot::Receiver<ChunkIds>),
    /// As above, and what is claimed of them is looked at.
    Checked(JoinHandle<Result<ChunkIds>>),
}

impl Ids {
    /// Begins to make them.
    fn make(core: &Arc<Core>, bytes: &Bytes) -> Self {
        let (bytes, key) = (bytes.clone(), core.vault.ids.clone());
        let made = core.pool.run(move || chunk_ids(&bytes, &key));
        if !core.has_claims {
            return Self::Made(made);
        }
        let core = Arc::clone(core);
        Self::Checked(tokio::spawn(async move {
            let ids = made.await.map_err(not_made)?;
            core.check_claims(&ids).await?;
            Ok(ids)
        }))
    }

    async fn get(self) -> Result<ChunkIds> {
        match self {
            Self::Made(ids) => ids.await.map_err(not_made),
            Self::Checked(ids) => ids.await.map_err(not_made)?,
        }
    }
}

fn not_made(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::system("hash chunks").because(error)
}

impl StreamWriter {
    pub(crate) fn new(
        core: Arc<Core>,
        name: StreamName,
        size: u64,
        base: Option<&StreamRecord>,
    ) -> Result<Self> {
        let stored = Arc::new(AtomicU64::new(0));
        let tree = TreeWriter::new(Arc::clone(&core), size, base, Arc::clone(&stored))?;
        let frame = core.open_frame(&stored);
        core.open_streams.fetch_add(1, Ordering::AcqRel);
        Ok(Self {
            core,
            name,
            size,
            position: 0,
            hashing: VecDeque::new(),
            hashing_bytes: 0,
            frame,
            leaves: LeafQueue::default(),
            tree,
            stored,
            stats: StreamStats::default(),
        })
    }

    /// Bytes stored for this stream so far, compressed and sealed. For progress displays.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Writes bytes. `offset` is a multiple of the chunk size and not below the end of what was
    /// written before; the length is one, too, unless the bytes reach the end of the stream.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Misuse`] when that is broken; when the storage fails.
    pub async fn write(&mut self, offset: u64, bytes: Bytes) -> Result<()> {
        self.advance(Extent {
            start: offset,
            length: bytes.len() as u64,
        })?;
        self.core.check()?;
        self.stats.read += bytes.len() as u64;
        let ids = Ids::make(&self.core, &bytes);
        self.hashing_bytes += bytes.len();
        self.hashing.push_back(Hashing { offset, bytes, ids });
        while self.hashing_bytes > HASH_AHEAD && self.hashing.len() > 1 {
            self.place_next().await?;
        }
        Ok(())
    }

    /// Writes zeros, in time that does not depend on how many. `extent` follows the rules of
    /// [`Self::write`].
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub async fn zero(&mut self, extent: Extent) -> Result<()> {
        self.advance(extent)?;
        while !self.hashing.is_empty() {
            self.place_next().await?;
        }
        let first = extent.start / CHUNK;
        let end = extent.end().div_ceil(CHUNK);
        let per_leaf = FAN_OUT as u64;
        let whole = first.div_ceil(per_leaf)..if extent.end() == self.size {
            end.div_ceil(per_leaf)
        } else {
            end / per_leaf
        };
        if whole.is_empty() {
            (first..end).for_each(|chunk| self.leaves.set(chunk, Update::Zero));
        } else {
            let (before, behind) = (first..whole.start * per_leaf, whole.end * per_leaf..end);
            before.for_each(|chunk| self.leaves.set(chunk, Update::Zero));
            self.leaves.set_zeros(whole);
            behind.for_each(|chunk| self.leaves.set(chunk, Update::Zero));
        }
        if self.leaves.len() > LEAVES_AHEAD {
            self.core.flush_frames().await?;
        }
        self.store_leaves(false).await
    }

    /// Ends the stream. Its record is worth nothing until the session commits.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn finish(mut self) -> Result<(StreamRecord, StreamStats)> {
        while !self.hashing.is_empty() {
            self.place_next().await?;
        }
        self.store_last_leaves().await?;
        let root = self.tree.finish().await?;
        self.stats.stored = self.stored();
        if let Some(root) = &root {
            self.core.bases.admit_own(&root.id);
        }
        let record = StreamRecord {
            name: self.name.clone(),
            size: self.size,
            root,
        };
        Ok((record, self.stats))
    }

    /// Gives the stream up, for one that begins anew. What it stored is in the vault for that one
    /// to find: chunks that wait in its frame are sent, since others may have been told of them.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn abandon(mut self) -> Result<StreamStats> {
        self.frame.submit(&self.core, &self.stored).await?;
        self.core.wait_for_frames().await?;
        self.stats.stored = self.stored();
        Ok(self.stats)
    }

    /// Checks the rules of the interface.
    fn advance(&mut self, extent: Extent) -> Result<()> {
        let end = extent
            .start
            .checked_add(extent.length)
            .filter(|end| *end <= self.size);
        let end = end.ok_or(Error::misuse("writes stay inside the stream"))?;
        if extent.start < self.position {
            return Err(Error::misuse("offsets rise"));
        }
        if !extent.start.is_multiple_of(CHUNK) || !(end.is_multiple_of(CHUNK) || end == self.size) {
            return Err(Error::misuse("writes are aligned to chunks"));
        }
        self.position = end;
        Ok(())
    }

    /// Gives the chunks of the oldest write their places.
    async fn place_next(&mut self) -> Result<()> {
        let Some(Hashing { offset, bytes, ids }) = self.hashing.pop_front() else {
            return Ok(());
        };
        self.hashing_bytes -= bytes.len();
        let ids = ids.get().await?;
        let first = offset / CHUNK;
        for (number, (plain, id)) in (first..).zip(bytes.chunks(CHUNK_SIZE).zip(ids)) {
            let update = match id {
                None => {
                    self.stats.zero += plain.len() as u64;
                    Update::Zero
                }
                Some(id) => {
                    let (place, new) = self.frame.place(&self.core, id, plain);
                    if new {
                        self.stats.new += plain.len() as u64;
                    }
                    Update::Data(id, place)
                }
            };
            self.leaves.set(number, update);
            if self.frame.is_full() {
                self.frame.submit(&self.core, &self.stored).await?;
            }
        }
        if self.leaves.len() > LEAVES_AHEAD {
            self.core.flush_frames().await?;
        }
        self.store_leaves(false).await
    }

    /// Moves all leaves into the tree. A chunk may lie in a frame that another stream fills, or
    /// is just sending: all are sent, again where that is needed.
    async fn store_last_leaves(&mut self) -> Result<()> {
        for _ in 0..FLUSHES {
            self.core.flush_frames().await?;
            self.store_leaves(true).await?;
            if self.leaves.len() == 0 {
                return Ok(());
            }
            tokio::time::sleep(FLUSH_AGAIN).await;
        }
        Err(Error::system("place every chunk"))
    }

    /// Moves leaves whose chunks have final places into the tree.
    async fn store_leaves(&mut self, all: bool) -> Result<()> {
        loop {
            let ready = self.leaves.pop_ready(&self.core.known(), all);
            match ready {
                Some(Ready::Leaf { index, update }) => self.tree.put_leaf(index, &update).await?,
                Some(Ready::Zeros(leaves)) => self.tree.zero_leaves(leaves).await?,
                None => break,
            }
        }
        self.core.check()
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.core.open_streams.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Runs on the pool.
fn chunk_ids(bytes: &[u8], key: &IdKey) -> ChunkIds {
    let chunks = bytes.chunks(CHUNK_SIZE);
    chunks.map(|plain| chunk_id(plain, key)).collect()
}
