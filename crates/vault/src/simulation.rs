//! The commit protocol on a simulated disk: two writers, a racer that aborts, and at any change
//! of any of them a power cut, a kill or a failing operation.
//!
//! Invariants, checked on what the next boot finds:
//! - every acknowledged recovery point is listed and restores byte-equal;
//! - so does every other point that is listed: nothing dangles (I2);
//! - a session whose abort was acknowledged is no point, and the other way round;
//! - no object lacks what another one says of it;
//! - the vault can be written again.

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tresor_backend::LocalBackend;
use tresor_backend::sim::{Moment, Plan, Rng, SimFs};
use tresor_model::{PointId, SessionId, StreamRecord};

use crate::pool::CpuPool;
use crate::session::PlantedBug;
use crate::{
    CHUNK_SIZE, CreateOptions, Ended, Result, SessionOptions, Vault, random, verify_objects,
};
use support::{key, noise, point, read_all};

/// Seeds of the normal run.
const SEEDS: u64 = 300;
/// More changes than a session makes: some plans never strike.
const CHANGES: usize = 80;
const CHUNKS: usize = 10;

/// What the processes were told, kept outside of the machine that crashes.
#[derive(Default)]
struct Log {
    /// What each session writes, from before its commit.
    written: BTreeMap<PointId, Vec<u8>>,
    acknowledged: BTreeSet<PointId>,
    aborted: BTreeSet<PointId>,
}

type SharedLog = Arc<Mutex<Log>>;

#[derive(Clone)]
struct Writer {
    fs: SimFs,
    log: SharedLog,
    planted: Option<PlantedBug>,
}

impl Writer {
    async fn open(&self) -> Result<Vault> {
        let backend = Arc::new(LocalBackend::on(self.fs.clone()));
        Vault::open_on(backend, &key(), CpuPool::inline()).await
    }

    /// Backs `content` up; what is zero in it is left out.
    async fn back_up(
        &self,
        id: SessionId,
        content: Vec<u8>,
        base: Option<&StreamRecord>,
    ) -> Result<StreamRecord> {
        let vault = self.open().await?;
        let mut options = SessionOptions::new(id);
        options.planted = self.planted;
        options.pack_size = 3 * CHUNK_SIZE;
        let session = vault.begin_session(options).await?;
        let (record, _) =
            support::write_all(&session, "vda", &content, base, 2 * CHUNK_SIZE).await?;
        let point_id = PointId::from(id);
        self.log.lock().unwrap().written.insert(point_id, content);
        session.commit(point(id, vec![record.clone()])).await?;
        self.log.lock().unwrap().acknowledged.insert(point_id);
        Ok(record)
    }

    async fn abort(&self, turns: usize, sessions: &[SessionId]) -> Result<()> {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let vault = self.open().await?;
        for session in sessions {
            if vault.abort_session(*session).await? != Ended::WasCommitted {
                self.log
                    .lock()
                    .unwrap()
                    .aborted
                    .insert(PointId::from(*session));
            }
        }
        Ok(())
    }
}

/// A disk of `CHUNKS` chunks out of few different ones, so that writers meet each other's.
fn content(rng: &mut Rng) -> Vec<u8> {
    let chunk = |rng: &mut Rng| match rng.below(6) {
        0 => vec![0; CHUNK_SIZE],
        seed => noise(seed as u64 + 10, CHUNK_SIZE),
    };
    (0..CHUNKS).flat_map(|_| chunk(rng)).collect()
}

fn plan(rng: &mut Rng) -> Plan {
    let at = rng.below(CHANGES) as u64;
    let moment = if rng.coin() {
        Moment::Before
    } else {
        Moment::After
    };
    let plan = Plan::default().interleave(3);
    match rng.below(6) {
        0 => plan.cut_power(at, moment),
        1 | 5 => plan.kill(at, moment),
        2 => plan.fail(at, std::io::ErrorKind::Other),
        3 => plan.full_from(at),
        _ => plan,
    }
}

fn session_id(rng: &mut Rng) -> SessionId {
    let bits = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
    SessionId::from_uuid(uuid::Uuid::from_u128(bits))
}

/// One history. The error says which invariant broke.
async fn history(seed: u64, planted: Option<PlantedBug>) -> std::result::Result<(), String> {
    let mut rng = Rng::new(seed);
    random::seeded::start(seed);
    let disk = SimFs::new(seed, Plan::default().interleave(3));
    let log = SharedLog::default();
    let writer = |fs: SimFs| Writer {
        fs,
        log: Arc::clone(&log),
        planted,
    };
    let place = Arc::new(LocalBackend::on(disk.clone()));
    Vault::create_on(place, CreateOptions::new(key()), CpuPool::inline())
        .await
        .map_err(|error| format!("create: {error}"))?;
    let mut base = None;
    if rng.coin() {
        let first = writer(disk.clone());
        let made = first
            .back_up(session_id(&mut rng), content(&mut rng), None)
            .await;
        base = Some(made.map_err(|error| format!("a quiet backup failed: {error}"))?);
    }

    let ids = [
        session_id(&mut rng),
        session_id(&mut rng),
        session_id(&mut rng),
    ];
    let writers = [plan(&mut rng), plan(&mut rng)].map(|plan| writer(disk.process(plan)));
    let contents = [content(&mut rng), content(&mut rng)];
    let racer = writer(disk.process(Plan::default().interleave(3)));
    let (turns, victims) = (rng.below(900), [ids[rng.below(3)], ids[rng.below(3)]]);
    // What each was told is in the log; that most of them fail is the point.
    let _outcomes = tokio::join!(
        writers[0].back_up(ids[0], contents[0].clone(), base.as_ref()),
        writers[1].back_up(
            ids[1],
            contents[1].clone(),
            base.as_ref().filter(|_| seed.is_multiple_of(2))
        ),
        racer.abort(turns, &victims),
    );
    // A third writer that finds what the first left; half of the time nothing happens to it.
    let quiet = rng.coin();
    let plan = plan(&mut rng);
    let late = writer(disk.process(if quiet { Plan::default() } else { plan }));
    let _outcome = late.back_up(ids[2], contents[0].clone(), None).await;

    let next_boot = disk.power_cut(rng.next_u64());
    check(&writer(next_boot.clone())).await?;
    let healed = writer(next_boot.clone());
    let again = healed
        .back_up(session_id(&mut rng), contents[1].clone(), None)
        .await;
    again.map_err(|error| format!("the vault cannot be written after the crash: {error}"))?;
    check(&writer(next_boot.power_cut(rng.next_u64()))).await
}

/// A writer is killed at its `at`th change; another one writes the same, reuses what it finds,
/// and is told that its point is safe. Then the power goes.
async fn succession(
    at: u64,
    moment: Moment,
    planted: Option<PlantedBug>,
) -> std::result::Result<(), String> {
    let mut rng = Rng::new(at);
    random::seeded::start(at);
    let disk = SimFs::new(at, Plan::default());
    let log = SharedLog::default();
    let writer = |fs: SimFs| Writer {
        fs,
        log: Arc::clone(&log),
        planted,
    };
    let place = Arc::new(LocalBackend::on(disk.clone()));
    let created = Vault::create_on(place, CreateOptions::new(key()), CpuPool::inline()).await;
    created.map_err(|error| format!("create: {error}"))?;
    let content = noise(at, CHUNKS * CHUNK_SIZE);
    let killed = writer(disk.process(Plan::default().kill(at, moment)));
    let _outcome = killed
        .back_up(session_id(&mut rng), content.clone(), None)
        .await;
    let second = writer(disk.process(Plan::default()));
    let made = second.back_up(session_id(&mut rng), content, None).await;
    made.map_err(|error| format!("the second writer failed: {error}"))?;
    for _ in 0..3 {
        check(&writer(disk.power_cut(rng.next_u64()))).await?;
    }
    Ok(())
}

async fn check(reader: &Writer) -> std::result::Result<(), String> {
    let text = |error: crate::Error| error.to_string();
    let vault = reader.open().await.map_err(text)?;
    let list = vault.points().await.map_err(text)?;
    if let Some(error) = list.damaged.first() {
        return Err(format!("a point is damaged: {error}"));
    }
    let listed: BTreeSet<PointId> = list.points.iter().map(|point| point.id).collect();
    for id in &listed {
        let point = vault.point(*id).await.map_err(text)?;
        let read = read_all(&vault, &point.disks[0].stream).await;
        let read = read.map_err(|error| format!("point {id} dangles: {error}"))?;
        if reader.log.lock().unwrap().written.get(id) != Some(&read) {
            return Err(format!("point {id} has other bytes"));
        }
    }
    {
        let log = reader.log.lock().unwrap();
        if let Some(lost) = log.acknowledged.difference(&listed).next() {
            return Err(format!("the acknowledged point {lost} is gone"));
        }
        if let Some(both) = log.aborted.iter().find(|id| listed.contains(id)) {
            return Err(format!("the aborted session {both} is a point"));
        }
        if let Some(both) = log.aborted.intersection(&log.acknowledged).next() {
            return Err(format!("session {both} was aborted and acknowledged"));
        }
    }
    let backend = Arc::new(LocalBackend::on(reader.fs.clone()));
    let report = verify_objects(backend, |_| ()).await.map_err(text)?;
    match report.damaged.first() {
        Some(found) => Err(format!("{} is damaged: {}", found.object, found.reason)),
        None => Ok(()),
    }
}

/// Runs histories until one breaks an invariant; gives its seed and the break.
fn run(seeds: u64, planted: Option<PlantedBug>) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let broken = runtime.block_on(history(seed, planted)).err()?;
        Some((seed, broken))
    })
}

/// Runs successions for every change of a writer.
fn run_successions(planted: Option<PlantedBug>) -> Option<(u64, String)> {
    (0..CHANGES as u64).find_map(|at| {
        [Moment::Before, Moment::After]
            .into_iter()
            .find_map(|moment| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                let broken = runtime.block_on(succession(at, moment, planted)).err()?;
                Some((at, broken))
            })
    })
}

#[test]
fn acknowledged_points_survive_every_crash() {
    if let Some((seed, broken)) = run(SEEDS, None) {
        panic!("seed {seed}: {broken}");
    }
}

#[test]
fn what_a_killed_writer_left_is_safe_to_build_on() {
    if let Some((at, broken)) = run_successions(None) {
        panic!("change {at}: {broken}");
    }
}

/// The test of the test: each defect that somebody could build in is found.
#[test]
fn planted_bugs_are_found() {
    for bug in [
        PlantedBug::EndBeforePacks,
        PlantedBug::EndBeforeIndex,
        PlantedBug::EndBeforeTree,
        PlantedBug::CommitIgnoresRival,
    ] {
        let found = run(SEEDS, Some(bug));
        assert!(found.is_some(), "{bug:?} was not found in {SEEDS} seeds");
    }
    let bug = PlantedBug::TrustsWhatItSaw;
    assert!(
        run_successions(Some(bug)).is_some(),
        "{bug:?} was not found"
    );
}
