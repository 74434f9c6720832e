//! Collecting a stream's new chunks into frames, and the way of a frame into a pack.
//!
//! Each stream has a frame of its own: chunks that lie together on a disk are read together.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tresor_vault_format::limits::{CHUNK_SIZE, FRAME_CHUNKS, FRAME_LIMIT};
use tresor_vault_format::{ChunkId, frame};

use crate::error::{Error, ErrorKind, Result};
use crate::known::Place;
use crate::session::core::Core;

/// The frame that a stream fills. Its session can send it half full, when another stream waits
/// for a chunk in it.
#[derive(Default)]
pub(crate) struct OpenFrame(Mutex<FrameBuilder>);

#[derive(Default)]
struct FrameBuilder {
    number: Option<u32>,
    ids: Vec<ChunkId>,
    plain: Vec<u8>,
}

impl FrameBuilder {
    /// Finds the place of a chunk; when the vault and this session have not seen it, gives it
    /// one in this frame and copies its bytes. The last chunk of a stream is padded with zeros.
    fn place(&mut self, core: &Core, id: ChunkId, bytes: &[u8]) -> Place {
        let mut known = core.known();
        if let Some(place) = known.get(&id) {
            return place;
        }
        let frame = *self.number.get_or_insert_with(|| known.new_frame());
        let slot = u8::try_from(self.ids.len()).unwrap_or(u8::MAX);
        let place = known.insert(id, frame, slot);
        drop(known);
        self.ids.push(id);
        if self.plain.is_empty() {
            self.plain = core.plains.take(FRAME_LIMIT);
        }
        self.plain.extend_from_slice(bytes);
        self.plain.resize(self.ids.len() * CHUNK_SIZE, 0);
        place
    }
}

impl OpenFrame {
    /// See [`FrameBuilder::place`]; says whether the chunk is a new one.
    pub(crate) fn place(&self, core: &Core, id: ChunkId, bytes: &[u8]) -> (Place, bool) {
        let mut frame = self.lock();
        let before = frame.ids.len();
        let place = frame.place(core, id, bytes);
        (place, frame.ids.len() > before)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lock().ids.len() >= FRAME_CHUNKS
    }

    fn lock(&self) -> MutexGuard<'_, FrameBuilder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the frame on its way. Returns when it may go, not when it has arrived; waits for
    /// room in front of the compressors and of the storage. `stored` counts its bytes.
    pub(crate) async fn submit(&self, core: &Arc<Core>, stored: &Arc<AtomicU64>) -> Result<()> {
        let FrameBuilder {
            number: Some(number),
            ids,
            plain,
        } = std::mem::take(&mut *self.lock())
        else {
            return Ok(());
        };
        let behind_storage = core.outbox.is_behind();
        core.outbox.has_room().await?;
        let level = core.levels.next(behind_storage);
        let permit = Arc::clone(&core.frames).acquire_owned().await;
        let permit = permit.map_err(|_| Error::new(ErrorKind::Cancelled))?;
        core.check()?;
        let (core_of_job, stored) = (Arc::clone(core), Arc::clone(stored));
        core.pool.spawn(move || {
            compress_and_pack(&core_of_job, number, &ids, (&plain, level), &stored);
            core_of_job.plains.give(plain);
            // Only now: whoever holds all permits knows that every frame is in a pack.
            drop(permit);
        });
        Ok(())
    }
}

thread_local! {
    /// The coded bytes of the frame at hand.
    static CODED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs on the pool.
fn compress_and_pack(
    core: &Core,
    number: u32,
    ids: &[ChunkId],
    (plain, level): (&[u8], i32),
    stored: &AtomicU64,
) {
    let mut scratch = CODED.take();
    let coded = frame::encode(plain, level, &mut scratch);
    core.levels.count(coded.is_compressed().then_some(level));
    let size = u32::try_from(CHUNK_SIZE).unwrap_or(u32::MAX);
    let entries = ids.iter().map(|id| (id.0, size)).collect();
    let appended = core.data().append(&coded, entries);
    CODED.set(scratch);
    match appended {
        Ok((location, full)) => {
            stored.fetch_add(u64::from(location.length), Ordering::Relaxed);
            core.known().frame_written(number, location);
            if let Some(pack) = full {
                core.outbox.send(pack);
            }
        }
        Err(error) => core.fail(error),
    }
}
