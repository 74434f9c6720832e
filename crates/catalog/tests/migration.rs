//! Databases that older releases made, with what they kept in them, made by the steps that they ran.

#[path = "support/postgres.rs"]
mod postgres;

use jiff::Timestamp;
use postgres::Postgres;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};
use tresor_catalog::{Catalog, ItemState, PointFilter};
use tresor_jobs::{JobFilter, JobLog as _, JobQueue as _, LogErrorKind, Owner};
use tresor_model::{JobId, JobKind, JobState};
use tresor_policy::Policy;

/// The steps up to the version that is tested last.
const STEPS: [&str; 7] = [
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_machine.sql"),
    include_str!("../migrations/0003_retention.sql"),
    include_str!("../migrations/0004_stores.sql"),
    include_str!("../migrations/0005_copies.sql"),
    include_str!("../migrations/0006_verified.sql"),
    include_str!("../migrations/0007_queue.sql"),
];

const VAULT: &str = "0192f3c1-0000-7000-8000-000000000001";
const VM: &str = "0192f3c1-0000-7000-8000-000000000002";
const POINT: &str = "0192f3c1-0000-7000-8000-000000000003";
const RUNS: &str = "0192f3c1-0000-7000-8000-000000000004";
const WAITS: &str = "0192f3c1-0000-7000-8000-000000000005";
const ENDED: &str = "0192f3c1-0000-7000-8000-000000000006";

async fn run(connection: &mut AnyConnection, statements: impl IntoIterator<Item = String>) {
    for statement in statements {
        let done = connection.execute(AssertSqlSafe(statement.clone())).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

/// Makes a database of an older version, as a program of that version did.
async fn make(connection: &mut AnyConnection, version: usize) {
    let versions =
        "CREATE TABLE schema_versions (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)";
    run(connection, [versions.to_owned()]).await;
    for (number, text) in (1..=version).zip(STEPS) {
        let statements = text.split(";\n").map(str::trim);
        let statements = statements.filter(|statement| !statement.is_empty());
        run(connection, statements.map(str::to_owned)).await;
        let done = format!("INSERT INTO schema_versions VALUES ({number}, 0)");
        run(connection, [done]).await;
    }
}

/// A row in each table of version 7, by the names of its columns.
fn rows_of_version_7() -> Vec<String> {
    let job = |id: &str, lock: &str, state: &str, ended: u8, owner: &str, epoch: u8| {
        format!(
            "INSERT INTO jobs (id, kind, subject, lock_key, params, sub_tasks, created_at, state, ended, \
             next_seq, owner, epoch, heartbeat_at, cancel_requested) VALUES ('{id}', 'backup', \
             'web01', {lock}, '{{}}', '[]', 5, '{state}', {ended}, {epoch}, '{owner}', {epoch}, 6, 0)"
        )
    };
    let owner = "{\"machine\":\"m\",\"boot\":\"b\",\"pid_namespace\":\"n\",\"pid\":7,\
         \"started\":1,\"engine\":\"0192f3c1-0000-7000-8000-000000000007\"}";
    let event = "{\"event\":\"started\",\"sub_task\":0}";
    vec![
        format!(
            "INSERT INTO vaults (name, id, location, key_source, created_at, settings, verify_share) \
             VALUES ('main', '{VAULT}', '/v', 'file:', 1, NULL, 10000)"
        ),
        format!(
            "INSERT INTO vms (name, id, qmp_socket, excluded_disks, vault, created_at, retention) \
             VALUES ('web01', '{VM}', '/qmp', '[\"scratch\"]', 'main', 2, '{{\"daily\":7}}')"
        ),
        format!(
            "INSERT INTO points (id, vault, vm, vm_name, taken_at, committed_at, consistency, size, \
             stored, stats) VALUES ('{POINT}', '{VAULT}', '{VM}', 'web01', 3, 4, \
             'crash', 5, 6, '{{}}')"
        ),
        job(RUNS, "'vm:1'", "in_progress", 0, owner, 1),
        job(WAITS, "NULL", "queued", 0, "null", 0),
        job(ENDED, "'vm:1'", "completed", 1, owner, 1),
        format!(
            "INSERT INTO queue (job, lane, not_before, rank_number, wanted_key) \
             VALUES ('{WAITS}', 'host:1', 5, 0, 'vm:1')"
        ),
        format!("INSERT INTO job_events (job, seq, at, event) VALUES ('{RUNS}', 0, 6, '{event}')"),
        format!("INSERT INTO job_progress (job, progress) VALUES ('{RUNS}', 'none')"),
        format!("INSERT INTO verified (vault, object, seen_at) VALUES ('{VAULT}', 'packs/1', 7)"),
    ]
}

fn id(text: &str) -> JobId {
    text.parse().expect("id")
}

/// What was there is there, and the tables that are new work with it.
async fn check_version_7(catalog: &Catalog) {
    let vm = catalog.vm("web01").await.expect("vm");
    assert_eq!((vm.host, vm.excluded_disks.len()), (None, 1));
    assert_eq!(vm.retention.expect("rules").daily, 7);
    let vault = catalog.vault("main").await.expect("vault");
    assert!(vault.verify_share.is_some());
    let points = catalog.points(&PointFilter::default()).await;
    assert_eq!(points.expect("points").len(), 1);
    assert_eq!(catalog.verified(vault.id).await.expect("verified").len(), 1);

    let jobs = catalog.list(&JobFilter::default()).await.expect("jobs");
    let lanes: Vec<_> = jobs
        .iter()
        .map(|header| (header.job.id, header.lane.as_deref()))
        .collect();
    let expected = [
        (id(ENDED), None),
        (id(WAITS), Some("host:1")),
        (id(RUNS), None),
    ];
    assert_eq!(lanes, expected);
    assert_eq!(catalog.load(id(RUNS)).await.expect("load").events.len(), 1);
    let counts = catalog.tallies().await.expect("tallies");
    let ended: u64 = counts.values().map(|counted| counted.count).sum();
    assert_eq!(ended, 1, "what had ended before is counted: {counts:?}");
    let of_the_host = JobFilter {
        lane: Some("host:1".to_owned()),
        kind: Some(JobKind::Backup),
        state: Some(JobState::Queued),
        unfinished: true,
        ..JobFilter::default()
    };
    let waiting = catalog.list(&of_the_host).await.expect("jobs");
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].job.lock.as_deref(), Some("vm:1"));
    let refused = catalog.claim(id(WAITS), &Owner::current()).await;
    let busy = LogErrorKind::Busy { holder: id(RUNS) };
    assert_eq!(refused.expect_err("the key is held").kind, busy);

    let now = Timestamp::now();
    let policy = Policy::nightly();
    catalog.add_policy(&policy, now).await.expect("add");
    catalog
        .protect(vm.id, &policy.name, now)
        .await
        .expect("protect");
    let item = catalog.item(vm.id).await.expect("item");
    let shown = (item.vm_name.as_str(), item.vault.as_str(), item.state);
    assert_eq!(shown, ("web01", "main", ItemState::Protected));
}

#[tokio::test]
async fn version_7_in_a_file() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("catalog.db");
    let mut connection = file(&path).await;
    make(&mut connection, 7).await;
    run(&mut connection, rows_of_version_7()).await;
    connection.close().await.expect("close");
    let catalog = Catalog::open(&path).await.expect("open");
    check_version_7(&catalog).await;
    catalog.close().await;
    Catalog::open(&path).await.expect("open what is up to date");
}

#[tokio::test]
async fn version_7_in_postgresql() {
    let server = Postgres::start();
    let mut connection = server.connection().await;
    make(&mut connection, 7).await;
    run(&mut connection, rows_of_version_7()).await;
    connection.close().await.expect("close");
    check_version_7(&server.catalog().await).await;
}

/// A VM that the first release registered is there, with what that release did not know.
#[tokio::test]
async fn version_1_in_a_file() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("catalog.db");
    let mut connection = file(&path).await;
    make(&mut connection, 1).await;
    let rows = [
        format!("INSERT INTO vaults VALUES ('main', '{VAULT}', '/v', 'file:', 0)"),
        format!(
            "INSERT INTO vms VALUES ('web01', '{VM}', '/qmp', NULL, '[\"scratch\"]', 'main', 0)"
        ),
    ];
    run(&mut connection, rows).await;
    connection.close().await.expect("close");
    let catalog = Catalog::open(&path).await.expect("open");
    let vm = catalog.vm("web01").await.expect("vm");
    assert_eq!(vm.excluded_disks.len(), 1);
    let unknown = (vm.included_disks, vm.machine, vm.host);
    assert_eq!(unknown, (Vec::new(), None, None));
}

/// An SQLite file that is marked as ours.
async fn file(path: &std::path::Path) -> AnyConnection {
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let mut connection = AnyConnection::connect(&url).await.expect("connect");
    let ours = "PRAGMA application_id = 1416783219";
    run(&mut connection, [ours.to_owned()]).await;
    connection
}
