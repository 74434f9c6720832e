//! A machine with two vaults, one of which has a recovery point.

use std::{
    fs, num::NonZeroU64, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tempfile::TempDir;
use tresor_backend::{Backend, LocalBackend};
use tresor_catalog::{Catalog, VaultRecord, VmRecord};
use tresor_host::{HostRole, LocalRegistry, Registry, RoleOptions, StateDir, Stop, keys};
use tresor_jobs::{JobLog as _, JobQueue as _, JobView, NewJob, Owner, Ticket};
use tresor_model::{MachineDefinition, PointId, RecoveryPoint, VaultId, VmId};
use tresor_problem::Problem;
use tresor_vault::{CreateOptions, KeyMaterial, Vault};

#[path = "../../../vault/tests/support/mod.rs"]
mod support;

const LANE: &str = "local";

pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) state: StateDir,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) main: VaultId,
    pub(crate) away: VaultId,
    pub(crate) point: PointId,
}

/// What is on the disk.
pub(crate) fn bytes() -> Vec<u8> {
    support::noise(7, 300 << 10)
}

impl Place {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::choose(Some(&dir.path().join("state"))).unwrap();
        fs::create_dir_all(state.path()).unwrap();
        let catalog = Arc::new(state.catalog().await.unwrap());
        let main = vault(dir.path(), &state, &catalog, "main").await;
        let away = vault(dir.path(), &state, &catalog, "away").await;
        let point = support::back_up(&main, &bytes()).await;
        Self {
            main: main.id(),
            away: away.id(),
            point: point.id,
            dir,
            state,
            catalog,
        }
    }

    fn registry(&self) -> LocalRegistry {
        LocalRegistry::new(Arc::clone(&self.catalog), self.state.clone())
    }

    /// Queues a job, and lets the role work until it has ended.
    pub(crate) async fn run(&self, job: &NewJob) -> JobView {
        self.enqueue(job).await;
        self.work(Arc::new(self.registry()), job).await
    }

    pub(crate) async fn run_without_catalog(&self, job: &NewJob) -> JobView {
        self.enqueue(job).await;
        self.work(Arc::new(Bare(self.registry())), job).await
    }

    /// A job that somebody had taken up who is dead.
    pub(crate) async fn run_abandoned(&self, job: &NewJob, owner: &Owner) -> JobView {
        self.enqueue(job).await;
        self.catalog.claim(job.id, owner).await.unwrap();
        self.work(Arc::new(self.registry()), job).await
    }

    async fn enqueue(&self, job: &NewJob) {
        let ticket = Ticket {
            lane: LANE.to_owned(),
            not_before: Timestamp::now(),
            rank: 0,
        };
        self.catalog.enqueue(job, &ticket).await.unwrap();
    }

    async fn work(&self, registry: Arc<dyn Registry>, job: &NewJob) -> JobView {
        let queue = Arc::clone(&self.catalog);
        let mut options = RoleOptions::new(LANE);
        options.poll = Duration::from_millis(10);
        let role = HostRole::new(queue as _, registry, self.state.clone(), options);
        let stop = Stop::default();
        let working = tokio::spawn({
            let stop = stop.clone();
            async move { Arc::new(role).run(&stop).await }
        });
        let view = loop {
            let story = self.catalog.load(job.id).await.unwrap();
            if story.header.state.is_final() {
                break story.view().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        stop.drain.cancel();
        working.await.unwrap();
        view
    }
}

async fn vault(dir: &Path, state: &StateDir, catalog: &Catalog, name: &str) -> Vault {
    let location = dir.join(name);
    fs::create_dir(&location).unwrap();
    let key = state.key_file(name);
    fs::create_dir_all(key.parent().unwrap()).unwrap();
    fs::write(&key, "0123456789abcdef0123456789abcdef").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let material = KeyMaterial::KeyFile(keys::read_secret(&key).unwrap());
    let backend: Arc<dyn Backend> = Arc::new(LocalBackend::open(&location).await.unwrap());
    let made = Vault::create(backend, CreateOptions::new(material)).await;
    let vault = made.unwrap().0;
    let record = VaultRecord {
        name: name.to_owned(),
        id: vault.id(),
        location: location.to_str().unwrap().to_owned(),
        settings: None,
        key_source: format!("file:{}", key.display()),
        created_at: Timestamp::now(),
        verify_share: None,
    };
    catalog.add_vault(&record).await.unwrap();
    vault
}

/// The registry of a host that has no catalog.
struct Bare(LocalRegistry);

#[async_trait]
impl Registry for Bare {
    async fn vm(&self, vm: VmId) -> Result<VmRecord, Problem> {
        self.0.vm(vm).await
    }
    async fn vault(&self, name: &str, limit: Option<NonZeroU64>) -> Result<Vault, Problem> {
        self.0.vault(name, limit).await
    }
    async fn note_machine(&self, vm: &str, machine: &MachineDefinition) -> Result<(), Problem> {
        self.0.note_machine(vm, machine).await
    }
    async fn note_point(&self, vault: VaultId, point: &RecoveryPoint) -> Result<(), Problem> {
        self.0.note_point(vault, point).await
    }
}
