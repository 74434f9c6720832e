//! Two vaults with what a job acts on, and a directory.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tempfile::TempDir;
use tresor_backend::{Backend, MemoryBackend};
use tresor_jobs::{JobPlan, testing::PlanFixture};
use tresor_model::{
    Consistency, ConsistencyReport, DiskRecord, DiskStats, Firmware, HypervisorSource, JobId,
    MachineDefinition, ReadMode, RecoveryPoint, SessionId, SnapshotTag, StreamName, TrackingLedger,
    TrackingSigns, VmId,
};
use tresor_vault::{CreateOptions, KeyMaterial, SessionOptions, Vault};

/// A few chunks.
const SIZE: usize = 300 << 10;

pub(crate) struct World {
    pub(crate) vault: Vault,
    pub(crate) backend: Arc<dyn Backend>,
    /// Empty, but for what a job brings.
    pub(crate) other: Vault,
    /// Two of one VM; the first one is pinned.
    pub(crate) points: Vec<RecoveryPoint>,
    pub(crate) dir: TempDir,
    /// What the first vault has.
    initial: Vec<(String, u64)>,
}

impl World {
    async fn new() -> Self {
        let (backend, vault) = empty_vault().await;
        let (_, other) = empty_vault().await;
        let vm = VmId::generate();
        let mut points = Vec::new();
        for number in 1..3 {
            points.push(back_up(&vault, vm, number).await);
        }
        vault.pin(points[0].id).await.unwrap();
        Self {
            initial: stored(&*backend).await,
            vault,
            backend,
            other,
            points,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Whether exactly that is stored in the first vault that was there at the beginning.
    pub(crate) async fn unchanged(&self) -> bool {
        stored(&*self.backend).await == self.initial
    }
}

/// Names and sizes.
async fn stored(backend: &dyn Backend) -> Vec<(String, u64)> {
    let listed = backend.list("").await.unwrap();
    let mut listed: Vec<_> = listed
        .into_iter()
        .map(|meta| (meta.name.to_string(), meta.size))
        .collect();
    listed.sort();
    listed
}

/// Whether all points that a vault lists can be read to the last byte.
pub(crate) async fn whole(vault: &Vault) -> bool {
    for point in vault.points().await.unwrap().points {
        let report = vault.verify_point(point.id, |_| {}).await.unwrap();
        if !report.damaged.is_empty() {
            return false;
        }
    }
    true
}

async fn empty_vault() -> (Arc<dyn Backend>, Vault) {
    let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    let key = KeyMaterial::KeyFile(b"0123456789abcdef0123456789abcdef".to_vec().into());
    let made = Vault::create(Arc::clone(&backend), CreateOptions::new(key)).await;
    (backend, made.unwrap().0)
}

async fn back_up(vault: &Vault, vm: VmId, number: u64) -> RecoveryPoint {
    let options = SessionOptions::new(SessionId::generate());
    let session = vault.begin_session(options).await.unwrap();
    let name = StreamName::new("vda").unwrap();
    let size = u64::try_from(SIZE).unwrap();
    let mut writer = session.stream(name, size, None).await.unwrap();
    writer.write(0, Bytes::from(noise(number))).await.unwrap();
    let (stream, _) = writer.finish().await.unwrap();
    let point = point(
        session.id(),
        (vm, number),
        DiskRecord {
            stream,
            read_mode: ReadMode::Full {
                reason: "test".to_owned(),
            },
            tracking: TrackingLedger {
                bitmap: None,
                tag: SnapshotTag::of_job(JobId::generate()),
                granularity: 1 << 16,
                persistent: false,
                image: String::new(),
                size: 0,
                signs: TrackingSigns::default(),
            },
            stats: DiskStats::default(),
            reread: None,
        },
    );
    session.commit(point.clone()).await.unwrap();
    point
}

fn point(session: SessionId, (vm, sequence): (VmId, u64), disk: DiskRecord) -> RecoveryPoint {
    RecoveryPoint {
        id: session.into(),
        vm,
        vm_name: "web01".to_owned(),
        taken_at: Timestamp::now(),
        committed_at: Timestamp::now(),
        job: JobId::generate(),
        parent: None,
        sequence,
        copied_from: None,
        consistency: ConsistencyReport {
            achieved: Consistency::Crash,
            proof: String::new(),
            attempts: Vec::new(),
            file_systems_frozen: None,
            file_systems_thawed: None,
            frozen_us: None,
        },
        machine: MachineDefinition {
            id: vm,
            name: None,
            machine: "q35".to_owned(),
            cpu_model: None,
            cpus: 1,
            memory: 0,
            firmware: Firmware::Bios { image: None },
            nics: Vec::new(),
            disks: Vec::new(),
            attachments: Vec::new(),
            source: HypervisorSource::Qemu {
                version: String::new(),
                command_line: vec!["qemu".to_owned()],
            },
        },
        disks: vec![disk],
        attachments: Vec::new(),
        facts: Vec::new(),
        warnings: Vec::new(),
        damage_seen: Vec::new(),
    }
}

/// Bytes that do not compress and differ by seed.
pub(crate) fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(SIZE + 8);
    while bytes.len() < SIZE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(SIZE);
    bytes
}

/// What a kind of job does to a world.
#[async_trait]
pub(crate) trait Act: Send + Sync {
    type Context: Send + 'static;

    fn plan(&self, world: &World, job: JobId) -> JobPlan<Self::Context>;
    async fn context(&self, world: &World, job: JobId) -> Self::Context;
    /// What must be as it was, or as it is when all is done.
    async fn probe(&self, world: &World) -> String;
}

/// A kind of job with its world.
pub(crate) struct Of<A> {
    act: A,
    world: Mutex<Option<Arc<World>>>,
}

impl<A> Of<A> {
    pub(crate) fn new(act: A) -> Self {
        Self {
            act,
            world: Mutex::default(),
        }
    }

    fn world(&self) -> Arc<World> {
        let world = self.world.lock().unwrap();
        Arc::clone(world.as_ref().unwrap())
    }
}

#[async_trait]
impl<A: Act> PlanFixture for Of<A> {
    type Context = A::Context;

    async fn reset(&self) {
        let world = World::new().await;
        *self.world.lock().unwrap() = Some(Arc::new(world));
    }
    async fn plan(&self, job: JobId) -> JobPlan<A::Context> {
        self.act.plan(&self.world(), job)
    }
    async fn context(&self, job: JobId) -> A::Context {
        self.act.context(&self.world(), job).await
    }
    async fn probe(&self) -> String {
        self.act.probe(&self.world()).await
    }
}
