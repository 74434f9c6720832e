//! A job that any of several hosts may do, on one that cannot reach its vault.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::{
    num::NonZeroU64,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tempfile::TempDir;
use tresor_backend::LocalBackend;
use tresor_catalog::{Catalog, VaultRecord, VmRecord};
use tresor_host::{HostRole, KEY_FILE, LocalRegistry, Registry, RoleOptions, StateDir, Stop, keys};
use tresor_jobs::{JobLog as _, JobQueue as _, Ticket};
use tresor_model::{JobId, JobState, MachineDefinition, RecoveryPoint, VaultId, VmId};
use tresor_problem::Problem;
use tresor_vault::{CreateOptions, KeyMaterial, Vault};
use tresor_workflows::collect;

const SHARED: &str = "local";

/// The real registry, which counts how often a vault was asked for.
struct Counting(LocalRegistry, AtomicUsize);

#[async_trait]
impl Registry for Counting {
    async fn vm(&self, vm: VmId) -> Result<VmRecord, Problem> {
        self.0.vm(vm).await
    }

    async fn vault(&self, name: &str, limit: Option<NonZeroU64>) -> Result<Vault, Problem> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.vault(name, limit).await
    }

    async fn note_machine(&self, vm: &str, machine: &MachineDefinition) -> Result<(), Problem> {
        self.0.note_machine(vm, machine).await
    }

    async fn note_point(&self, vault: VaultId, point: &RecoveryPoint) -> Result<(), Problem> {
        self.0.note_point(vault, point).await
    }
}

/// A catalog with a vault that is away, and a job that waits for it.
struct Place {
    dir: TempDir,
    catalog: Arc<Catalog>,
    registry: Arc<Counting>,
    job: JobId,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::choose(Some(dir.path())).unwrap();
        let catalog = Arc::new(state.catalog().await.unwrap());
        let (key_file, key) = (state.key_file("main"), keys::generate().unwrap());
        keys::write_key_file(&key_file, &key).unwrap();
        let location = dir.path().join("vault");
        let backend = Arc::new(LocalBackend::create(&location).await.unwrap());
        let options = CreateOptions::new(KeyMaterial::KeyFile(key));
        let (vault, _) = Vault::create(backend, options).await.unwrap();
        let entry = VaultRecord {
            name: "main".to_owned(),
            id: vault.id(),
            location: location.display().to_string(),
            settings: None,
            key_source: format!("{KEY_FILE}{}", key_file.display()),
            created_at: Timestamp::now(),
            verify_share: None,
        };
        catalog.add_vault(&entry).await.unwrap();
        let job = JobId::generate();
        let plan = collect::plan(job, "main", vault.id());
        let ticket = Ticket {
            lane: SHARED.to_owned(),
            not_before: Timestamp::now(),
            rank: 0,
        };
        let new = plan.new_job(Timestamp::now());
        catalog.enqueue(&new, &ticket).await.unwrap();
        let registry = LocalRegistry::new(Arc::clone(&catalog), state);
        let place = Self {
            dir,
            catalog,
            registry: Arc::new(Counting(registry, AtomicUsize::new(0))),
            job,
        };
        std::fs::rename(place.vault(), place.away()).unwrap();
        place
    }

    fn vault(&self) -> PathBuf {
        self.dir.path().join("vault")
    }

    fn away(&self) -> PathBuf {
        self.dir.path().join("away")
    }

    fn role(&self, options: RoleOptions, stop: &Stop) -> tokio::task::JoinHandle<()> {
        let role = HostRole::new(
            Arc::clone(&self.catalog) as _,
            Arc::clone(&self.registry) as _,
            StateDir::choose(Some(self.dir.path())).unwrap(),
            options,
        );
        let stop = stop.clone();
        tokio::spawn(async move { Arc::new(role).run(&stop).await })
    }

    async fn state(&self) -> JobState {
        self.catalog.load(self.job).await.unwrap().header.state
    }

    async fn ends(&self) -> JobState {
        loop {
            let state = self.state().await;
            if state.is_final() {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_a_host_that_can_or_for_the_vault() {
    let (place, stop) = (Place::new().await, Stop::default());
    let options = RoleOptions {
        shared_lane: Some(SHARED.to_owned()),
        poll: Duration::from_millis(20),
        ..RoleOptions::new("a host")
    };
    let role = place.role(options, &stop);
    while place.registry.1.load(Ordering::SeqCst) < 2 {
        assert_eq!(place.state().await, JobState::Queued);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::fs::rename(place.away(), place.vault()).unwrap();
    assert_eq!(place.ends().await, JobState::Completed);
    stop.drain.cancel();
    role.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_else_is_it_fails_at_once_with_its_cause() {
    let (place, stop) = (Place::new().await, Stop::default());
    let role = place.role(RoleOptions::new(SHARED), &stop);
    assert_eq!(place.ends().await, JobState::Failed);
    let view = place.catalog.load(place.job).await.unwrap().view().unwrap();
    assert!(view.cause.unwrap().is("VaultNotFound"));
    stop.drain.cancel();
    role.await.unwrap();
}
