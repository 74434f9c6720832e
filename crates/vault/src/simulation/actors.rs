//! Processes of the simulated machine, and what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::SignedDuration;
use tresor_backend::LocalBackend;
use tresor_backend::sim::{Moment, Plan, Rng, SimFs};
use tresor_model::{PointId, SessionId, StreamRecord};

use super::support::{self, key, noise, point};
use crate::pool::CpuPool;
use crate::session::PlantedBug;
use crate::{
    CHUNK_SIZE, CollectOptions, CollectReport, CopyOptions, CreateOptions, Ended, Error, ReadBack,
    Result, SessionOptions, Vault, copy_point,
};

/// More changes than a session makes: some plans never strike.
const CHANGES: usize = 100;
pub(super) const CHUNKS: usize = 10;

/// What the processes were told, kept outside of the machine that crashes.
#[derive(Default)]
pub(super) struct Log {
    /// What each session writes, from before its commit.
    pub(super) written: BTreeMap<PointId, Vec<u8>>,
    pub(super) acknowledged: BTreeSet<PointId>,
    pub(super) aborted: BTreeSet<PointId>,
    /// Points that somebody has begun to expire.
    pub(super) expire_tried: BTreeSet<PointId>,
    pub(super) expired: BTreeSet<PointId>,
    /// Points that somebody has begun to delete, and those that were brought back since.
    pub(super) delete_tried: BTreeSet<PointId>,
    pub(super) undeleted: BTreeSet<PointId>,
    /// A collector may have found no room, and deleted index runs before there was a claim.
    pub(super) no_room: bool,
}

/// A process on the disk.
#[derive(Clone)]
pub(super) struct Actor {
    pub(super) fs: SimFs,
    pub(super) log: Arc<Mutex<Log>>,
    pub(super) planted: Option<PlantedBug>,
    /// It finds the disk full.
    fills: bool,
}

/// A vault on a new disk.
pub(super) async fn new_machine(
    seed: u64,
    plan: Plan,
    planted: Option<PlantedBug>,
) -> std::result::Result<Actor, String> {
    let disk = SimFs::new(seed, plan);
    let place = Arc::new(LocalBackend::on(disk.clone()));
    let created = Vault::create_on(place, CreateOptions::new(key()), CpuPool::inline()).await;
    created.map_err(|error| format!("create: {error}"))?;
    Ok(Actor {
        fs: disk,
        log: Arc::default(),
        planted,
        fills: false,
    })
}

impl Actor {
    /// Another process, with its own fate.
    pub(super) fn process(&self, plan: Plan) -> Self {
        Self {
            fs: self.fs.process(plan),
            ..self.clone()
        }
    }

    /// Another process, with that fate.
    pub(super) fn fated(&self, fate: Fate) -> Self {
        Self {
            fills: fate.fills,
            ..self.process(fate.plan)
        }
    }

    /// The next boot after a power cut.
    pub(super) fn boot(&self, seed: u64) -> Self {
        Self {
            fs: self.fs.power_cut(seed),
            ..self.clone()
        }
    }

    pub(super) async fn open(&self) -> Result<Vault> {
        let backend = Arc::new(LocalBackend::on(self.fs.clone()));
        Vault::open_on(backend, &key(), CpuPool::inline()).await
    }

    /// Backs `content` up. Sleeps so many turns before it commits.
    pub(super) async fn back_up(
        &self,
        id: SessionId,
        content: Vec<u8>,
        base: Option<&StreamRecord>,
        sleep: usize,
    ) -> Result<StreamRecord> {
        let vault = self.open().await?;
        let mut options = SessionOptions::new(id);
        options.planted = self.planted;
        options.pack_size = 3 * CHUNK_SIZE;
        let session = vault.begin_session(options).await?;
        let (record, _) =
            support::write_all(&session, "vda", &content, base, 2 * CHUNK_SIZE).await?;
        turns(sleep).await;
        let point_id = PointId::from(id);
        self.log.lock().unwrap().written.insert(point_id, content);
        session.commit(point(id, vec![record.clone()])).await?;
        self.log.lock().unwrap().acknowledged.insert(point_id);
        Ok(record)
    }

    pub(super) async fn abort(&self, sleep: usize, sessions: &[SessionId]) -> Result<()> {
        turns(sleep).await;
        let vault = self.open().await?;
        for session in sessions {
            let ended = vault.abort_session(*session).await?;
            if ended != Ended::WasCommitted {
                let mut log = self.log.lock().unwrap();
                log.aborted.insert(PointId::from(*session));
            }
        }
        Ok(())
    }

    pub(super) async fn expire(&self, sleep: usize, id: PointId) -> Result<()> {
        turns(sleep).await;
        self.log.lock().unwrap().expire_tried.insert(id);
        self.open().await?.expire(id).await?;
        self.log.lock().unwrap().expired.insert(id);
        Ok(())
    }

    /// Deletes a point so that it can be brought back, and brings it back, or not.
    pub(super) async fn delete(&self, sleep: usize, id: PointId, back: bool) -> Result<()> {
        turns(sleep).await;
        self.log.lock().unwrap().delete_tried.insert(id);
        let vault = self.open().await?;
        vault.delete_point(id, SignedDuration::ZERO).await?;
        if back {
            vault.undelete_point(id).await?;
            self.log.lock().unwrap().undeleted.insert(id);
        }
        Ok(())
    }

    /// Copies a point into the vault of another machine.
    pub(super) async fn copy(
        &self,
        sleep: usize,
        id: PointId,
        to: &Self,
        copy: SessionId,
    ) -> Result<()> {
        turns(sleep).await;
        let (source, target) = (self.open().await?, to.open().await?);
        let point = source.point(id).await?;
        let mut session = SessionOptions::new(copy);
        session.pack_size = 3 * CHUNK_SIZE;
        let content = self.log.lock().unwrap().written[&id].clone();
        let copied = PointId::from(copy);
        to.log.lock().unwrap().written.insert(copied, content);
        let options = CopyOptions {
            session,
            read_back: ReadBack::All,
        };
        copy_point(&source, &target, &point, None, options, |_| ()).await?;
        to.log.lock().unwrap().acknowledged.insert(copied);
        Ok(())
    }

    /// Collects once; `hasty`: every session that has not ended is old. (A clock that jumps does
    /// the same.)
    pub(super) async fn collect(&self, sleep: usize, hasty: bool) -> Result<CollectReport> {
        turns(sleep).await;
        let vault = self.open().await?;
        let week = Duration::from_secs(7 * 24 * 3600);
        let options = CollectOptions {
            min_gain: 1,
            margin: if hasty { Duration::ZERO } else { week },
            wait: Duration::ZERO,
            planted: self.planted,
            pack_size: 4 * CHUNK_SIZE,
            ..CollectOptions::default()
        };
        self.log.lock().unwrap().no_room |= self.fills;
        vault.collect(&options, |_| ()).await
    }

    /// Reads a point as a restore does; gives what was wrong with it.
    pub(super) async fn restore(&self, sleep: usize, id: PointId) -> Option<String> {
        turns(sleep).await;
        let read = async {
            let vault = self.open().await?;
            let point = vault.point(id).await?;
            support::read_all(&vault, &point.disks[0].stream).await
        };
        let read: std::result::Result<Vec<u8>, Error> = read.await;
        let log = self.log.lock().unwrap();
        match read {
            _ if log.expire_tried.contains(&id) => None,
            Ok(read) if log.written.get(&id) == Some(&read) => None,
            Ok(_) => Some(format!("a restore of {id} gave other bytes")),
            Err(error) => Some(format!("a restore of {id} failed: {error}")),
        }
    }
}

pub(super) async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// A disk of `CHUNKS` chunks out of few different ones, so that writers meet each other's.
pub(super) fn content(rng: &mut Rng) -> Vec<u8> {
    let chunk = |rng: &mut Rng| match rng.below(7) {
        0 => vec![0; CHUNK_SIZE],
        seed => noise(seed as u64 + 10, CHUNK_SIZE),
    };
    (0..CHUNKS).flat_map(|_| chunk(rng)).collect()
}

/// What befalls a process.
pub(super) struct Fate {
    pub(super) plan: Plan,
    /// It takes the machine along.
    pub(super) cuts: bool,
    /// It finds the disk full.
    pub(super) fills: bool,
}

pub(super) fn fate(rng: &mut Rng) -> Fate {
    let at = rng.below(CHANGES) as u64;
    let moment = match rng.coin() {
        true => Moment::Before,
        false => Moment::After,
    };
    let plan = Plan::default().interleave([1, 3, 3, 20][rng.below(4)]);
    let (plan, cuts, fills) = match rng.below(8) {
        0 => (plan.cut_power(at, moment), true, false),
        1 | 5 => (plan.kill(at, moment), false, false),
        // A directory whose sync fails stops the file system for all.
        2 => (plan.fail(at, std::io::ErrorKind::Other), true, false),
        3 => (plan.full_from(at), false, true),
        _ => (plan, false, false),
    };
    Fate { plan, cuts, fills }
}

pub(super) fn session_id(rng: &mut Rng) -> SessionId {
    let bits = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
    let uuid = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
    SessionId::from_uuid(uuid)
}
