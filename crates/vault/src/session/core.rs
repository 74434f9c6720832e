//! What the streams of a session share.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tresor_model::SessionId;
use tresor_vault_format::limits::PACK_LIMIT;
use tresor_vault_format::{FrameLocation, PackId, PackKind, Plan, SessionBegin, name};

use crate::damage::Heal;
use crate::error::{Error, ErrorKind, Result};
use crate::known::{self, KnownChunks};
use crate::plans;
use crate::pool::CpuPool;
use crate::session::SessionOptions;
use crate::session::base::Bases;
use crate::session::claims::ClaimChecks;
use crate::session::frames::OpenFrame;
use crate::session::level::Levels;
use crate::session::outbox::Outbox;
use crate::session::packer::Packer;
use crate::session::protocol::{PlantedBug, Protocol};
use crate::session::spare::Spare;
use crate::store::PutOutcome;
use crate::vault::Inner;

/// Memory of packs that were put and whose successors are not begun.
const SPARE_PACKS: usize = 2;

pub(crate) struct Core {
    pub(crate) vault: Arc<Inner>,
    pub(crate) id: SessionId,
    pub(crate) levels: Levels,
    /// Memory of frames that are filled.
    pub(crate) plains: Spare,
    pub(crate) pool: Arc<CpuPool>,
    pub(crate) protocol: Protocol,
    pub(crate) heal: Heal,
    known: Mutex<KnownChunks>,
    pub(super) bases: Bases,
    /// Whether anybody else claims to have stored anything.
    pub(crate) has_claims: bool,
    pub(crate) claims: ClaimChecks,
    data: Mutex<Packer>,
    tree: tokio::sync::Mutex<TreePacks>,
    /// One permit for each frame between its stream and its pack.
    pub(crate) frames: Arc<Semaphore>,
    pub(crate) frames_max: u32,
    pub(crate) outbox: Outbox,
    first_error: Arc<OnceLock<Error>>,
    pub(crate) open_streams: AtomicUsize,
    /// What each open stream fills, with the counter of its stored bytes.
    open_frames: Mutex<Vec<(Weak<OpenFrame>, Arc<AtomicU64>)>>,
}

struct TreePacks {
    packer: Packer,
    stored: Vec<(PackId, u32)>,
}

impl Core {
    pub(crate) async fn begin(vault: &Arc<Inner>, options: SessionOptions) -> Result<Arc<Self>> {
        let id = options.id;
        let begin = SessionBegin {
            vault: vault.id,
            session: id,
            started_ms: Timestamp::now().as_millisecond(),
        };
        let object = Bytes::from(begin.encode());
        let protocol = Protocol {
            #[cfg(test)]
            planted: options.planted,
        };
        let early = match protocol.has(PlantedBug::PlansBeforeBegin) {
            true => Some(plans_too_early(vault).await?),
            false => None,
        };
        if vault.store.put(&name::session_begin(id), object).await? == PutOutcome::NameTaken {
            return Err(Error::new(ErrorKind::SessionExists { session: id }));
        }
        // After the begin object: a collector that claims its plan from now on sees this session.
        let plan = match early {
            Some(plan) => plan,
            None => plans::in_effect(vault).await?,
        };
        let condemned: &[PackId] = match &plan {
            Some(plan) if !protocol.has(PlantedBug::IgnoresPlans) => &plan.condemned,
            _ => &[],
        };
        let cache = options.index_cache.as_deref();
        let known = known::load(vault, protocol, cache, condemned).await?;
        let bases = Bases::new(options.base, plan);
        let pool = Arc::clone(&vault.pool);
        let workers = options.workers.unwrap_or(pool.threads()).clamp(1, 256);
        // A frame waits while another one is compressed on each thread.
        let frames_max = u32::try_from(4 * workers).unwrap_or(2);
        let first_error = Arc::new(OnceLock::new());
        let bodies = Spare::new(SPARE_PACKS);
        let packer = |kind, size: usize| {
            let size = size.clamp(1, PACK_LIMIT / 2);
            // Tree packs are few.
            let spare = match kind {
                PackKind::Data => bodies.clone(),
                PackKind::Tree => Spare::new(0),
            };
            Packer::new(Arc::clone(vault), (id, kind), size, spare)
        };
        Ok(Arc::new(Self {
            id,
            heal: options.heal,
            levels: Levels::new(options.level),
            plains: Spare::new(frames_max as usize + 1),
            has_claims: known.has_claims(),
            claims: ClaimChecks::new(),
            known: Mutex::new(known),
            bases,
            data: Mutex::new(packer(PackKind::Data, options.pack_size)),
            tree: tokio::sync::Mutex::new(TreePacks {
                packer: packer(PackKind::Tree, options.tree_pack_size),
                stored: Vec::new(),
            }),
            frames: Arc::new(Semaphore::new(frames_max as usize)),
            frames_max,
            outbox: Outbox::start(vault, id, bodies, Arc::clone(&first_error)),
            open_streams: AtomicUsize::new(0),
            open_frames: Mutex::default(),
            vault: Arc::clone(vault),
            pool,
            protocol,
            first_error,
        }))
    }

    /// Both locks are held for lookups and one frame's sealing only, never across an await; what
    /// they guard is whole whenever they are free.
    pub(crate) fn known(&self) -> MutexGuard<'_, KnownChunks> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn data(&self) -> MutexGuard<'_, Packer> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the first error; every later call of the session gives it.
    pub(crate) fn fail(&self, error: Error) {
        // Only the first is kept: it is the cause, the others follow from it (I10).
        let _later = self.first_error.set(error);
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.first_error
            .get()
            .map_or(Ok(()), |first| Err(Error::session_failed(first)))
    }

    /// A frame for a new stream.
    pub(crate) fn open_frame(&self, stored: &Arc<AtomicU64>) -> Arc<OpenFrame> {
        let frame = Arc::new(OpenFrame::default());
        let mut open = self
            .open_frames
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.retain(|(frame, _)| frame.strong_count() > 0);
        open.push((Arc::downgrade(&frame), Arc::clone(stored)));
        frame
    }

    /// Sends the frames of all streams, full or not, and waits until they are in packs.
    pub(crate) async fn flush_frames(self: &Arc<Self>) -> Result<()> {
        let open = self
            .open_frames
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for (frame, stored) in open {
            if let Some(frame) = frame.upgrade() {
                frame.submit(self, &stored).await?;
            }
        }
        self.wait_for_frames().await
    }

    /// Waits until no frame is between its stream and its pack.
    pub(crate) async fn wait_for_frames(&self) -> Result<()> {
        let all = self.frames.acquire_many(self.frames_max).await;
        drop(all.map_err(|_| Error::new(ErrorKind::Cancelled))?);
        self.check()
    }

    /// Makes durable, in order: all frames placed so far, then their index.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        let index = !self.protocol.has(PlantedBug::EndBeforeIndex);
        self.store_packs(index).await
    }

    pub(crate) async fn store_packs(&self, index: bool) -> Result<()> {
        let last = self.data().close();
        if let Some(pack) = last {
            self.outbox.send(pack);
        }
        self.outbox.flush(index).await?;
        self.check()
    }

    /// Puts nodes into the tree pack; when it is full, a checkpoint comes first (I2).
    pub(crate) async fn append_nodes(
        &self,
        plain: &[u8],
        entries: Vec<([u8; 32], u32)>,
    ) -> Result<FrameLocation> {
        let mut tree = self.tree.lock().await;
        let coded = tresor_vault_format::frame::raw(plain);
        let (location, full) = tree.packer.append(&coded, entries)?;
        if let Some(pack) = full {
            self.checkpoint().await?;
            tree.put(&self.vault, pack).await?;
        }
        Ok(location)
    }

    /// Puts the last tree pack; gives all of the session's.
    pub(crate) async fn finish_tree(&self) -> Result<Vec<(PackId, u32)>> {
        let mut tree = self.tree.lock().await;
        if let Some(pack) = tree.packer.close() {
            tree.put(&self.vault, pack).await?;
        }
        Ok(std::mem::take(&mut tree.stored))
    }

    pub(crate) fn streams_are_closed(&self) -> bool {
        self.open_streams.load(Ordering::Acquire) == 0
    }
}

impl TreePacks {
    async fn put(&mut self, vault: &Inner, pack: tresor_vault_format::FinishedPack) -> Result<()> {
        let id = pack.header.id;
        let size = u32::try_from(pack.bytes.len()).unwrap_or(u32::MAX);
        vault
            .store
            .put_new(&name::pack(&id), Bytes::from(pack.bytes))
            .await?;
        self.stored.push((id, size));
        Ok(())
    }
}

/// For a planted bug: something else happens between the list and the begin object.
async fn plans_too_early(vault: &Inner) -> Result<Option<Plan>> {
    let plan = plans::in_effect(vault).await?;
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    Ok(plan)
}
