//! A host's role on a log at the service, in a runtime of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{sleep, timeout};
use tresor_backend::LocalBackend;
use tresor_host::{HostRole, RoleOptions, StateDir, Stop};
use tresor_host_link::{Connections, RemoteLog, RemoteRegistry, Vaults};
use tresor_jobs::testing::dead_owner;
use tresor_jobs::{JobLog as _, JobQueue as _, NewJob, Ticket};
use tresor_model::{JobId, JobState};
use tresor_problem::Problem;
use tresor_vault::{CreateOptions, KeyMaterial, Vault};
use tresor_workflows::{collect, expire};

use crate::pair::{HANGS, Service, now, patient};

fn key() -> KeyMaterial {
    KeyMaterial::KeyFile(vec![7; 64].into())
}

/// The one vault, in a directory that the host has.
struct Directory(Vault);

#[async_trait]
impl Vaults for Directory {
    async fn open(&self, _: &str, _: Option<NonZeroU64>) -> Result<Vault, Problem> {
        Ok(self.0.clone())
    }
}

async fn create(path: &Path) -> Vault {
    let backend = Arc::new(LocalBackend::create(path).await.unwrap());
    let options = CreateOptions::new(key());
    Vault::create(backend, options).await.unwrap().0
}

/// The role until it is told to stop.
fn role(
    connections: Connections,
    vault: Vault,
    lane: &str,
    state: &Path,
    stop: Stop,
) -> std::thread::JoinHandle<()> {
    let log = Arc::new(RemoteLog::new(connections.clone(), patient()));
    let vaults = Arc::new(Directory(vault));
    let registry = RemoteRegistry::new(connections, patient(), vaults);
    let options = RoleOptions {
        poll: Duration::from_millis(20),
        ..RoleOptions::new(lane)
    };
    let state = StateDir::choose(Some(state)).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let role = Arc::new(HostRole::new(log, Arc::new(registry), state, options));
            role.run(&stop).await;
        });
    })
}

fn jobs(vault: &Vault) -> [NewJob; 2] {
    let collect = collect::plan(JobId::generate(), "main", vault.id());
    let request = expire::Request {
        vault: vault.id(),
        rules: BTreeMap::new(),
        unwanted: BTreeSet::new(),
        zone: "UTC".to_owned(),
        grace: "7d".to_owned(),
    };
    let expire = expire::plan(JobId::generate(), "main", &request);
    [collect.new_job(now()), expire.new_job(now())]
}

async fn ended(service: &Service, job: JobId) -> JobState {
    loop {
        let header = service.catalog.load(job).await.unwrap().header;
        if header.state.is_final() {
            return header.state;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn works_on_what_waits(service: Service) {
    let dir = tempfile::tempdir().unwrap();
    let vault = create(&dir.path().join("vault")).await;
    let host = service.enrol().await;
    let (lane, stop) = (host.to_string(), Stop::default());
    let connections = service.connections(host).await;
    let jobs = jobs(&vault);
    // One is left by a process of this host that died, the other ones wait.
    let [mut left, _] = self::jobs(&vault);
    left.lock = None;
    let dead = dead_owner();
    let dead = service.catalog.begin_in(&lane, &left, &dead);
    let lease = dead.await.unwrap();
    let ticket = Ticket {
        lane: lane.clone(),
        not_before: now(),
        rank: 0,
    };
    for job in &jobs {
        service.catalog.enqueue(job, &ticket).await.unwrap();
    }
    let role = role(connections, vault, &lane, dir.path(), stop.clone());
    for job in &jobs {
        let state = timeout(HANGS, ended(&service, job.id)).await.unwrap();
        assert_eq!(state, JobState::Completed);
    }
    let state = timeout(HANGS, ended(&service, left.id)).await.unwrap();
    assert_eq!(state, JobState::Failed);
    let story = service.catalog.load(left.id).await.unwrap();
    assert!(story.header.epoch > lease.epoch);
    let cause = story.view().unwrap().cause;
    assert!(cause.is_some_and(|cause| cause.is("JobAbandoned")));
    stop.drain.cancel();
    tokio::task::spawn_blocking(move || role.join().unwrap())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_works_on_what_waits_at_the_service() {
    works_on_what_waits(Service::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_works_while_answers_are_lost() {
    works_on_what_waits(Service::new().await.cutting()).await;
}
