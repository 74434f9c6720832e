//! The SQLite file: modes, foreign and damaged files, unclean ends.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use sqlx::{Connection as _, Executor as _};
use tempfile::TempDir;
use tresor_catalog::{Catalog, CatalogError, CatalogErrorKind};
use tresor_jobs::{
    JobEvent, JobLog, Owner, RecordedEvent, Warning,
    testing::{contract::new_job, dead_owner},
};
use tresor_model::JobState;
use tresor_problem::Problem;

fn scratch() -> (TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("state of 100%?").join("catalog.db");
    (directory, path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("metadata").permissions().mode() & 0o777
}

async fn sql(path: &Path, statement: &'static str) {
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let mut connection = sqlx::AnyConnection::connect(&url).await.expect("connect");
    connection.execute(statement).await.expect("statement");
    connection.close().await.expect("close");
}

/// Opening is refused, and not one byte of the file is another one.
async fn refused(path: &Path) -> CatalogError {
    let before = fs::read(path).expect("file");
    let error = Catalog::open(path).await.expect_err("must be refused");
    assert_eq!(error.context, path.display().to_string());
    assert!(fs::read(path).expect("file") == before, "{error}");
    error
}

#[tokio::test]
async fn only_the_owner_can_read_it() {
    let (_directory, path) = scratch();
    let catalog = Catalog::open(&path).await.expect("open");
    let job = new_job("web01", None);
    catalog.begin(&job, &Owner::current()).await.expect("begin");
    assert_eq!(mode(path.parent().expect("parent")), 0o700);
    for entry in fs::read_dir(path.parent().expect("parent")).expect("directory") {
        let file = entry.expect("entry").path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn garbage_is_damaged_and_stays_as_it_is() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("catalog.db");
    fs::write(&path, vec![0x5a; 8192]).expect("write");
    let error = refused(&path).await;
    assert_eq!(error.kind, CatalogErrorKind::Damaged);
    assert!(Problem::from(&error).is("StateUnusable"));
}

#[tokio::test]
async fn a_torn_catalog_is_damaged() {
    let (_directory, path) = scratch();
    let catalog = Catalog::open(&path).await.expect("open");
    catalog.close().await;
    let whole = fs::read(&path).expect("file");
    let mut torn = whole;
    torn[100..4096].fill(0xff);
    fs::write(&path, torn).expect("write");
    assert_eq!(refused(&path).await.kind, CatalogErrorKind::Damaged);
}

#[tokio::test]
async fn a_database_of_another_program_is_not_touched() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("other.db");
    sql(&path, "CREATE TABLE songs (title TEXT)").await;
    assert_eq!(refused(&path).await.kind, CatalogErrorKind::NotACatalog);
}

#[tokio::test]
async fn a_newer_catalog_is_not_touched() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("catalog.db");
    Catalog::open(&path).await.expect("open").close().await;
    sql(&path, "INSERT INTO schema_versions VALUES (99, 0)").await;
    let error = refused(&path).await;
    let CatalogErrorKind::VersionTooNew { found, supported } = error.kind else {
        panic!("{error}");
    };
    assert!(found == 99 && supported < 99, "{error}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_unusable() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("write");
    let error = Catalog::open(&file.join("catalog.db")).await;
    let kind = error.expect_err("must be refused").kind;
    assert_eq!(kind, CatalogErrorKind::Unusable);
}

#[tokio::test]
async fn what_was_recorded_is_there_after_an_unclean_end() {
    let (_directory, path) = scratch();
    let job = new_job("web01", Some("vm:web01".to_owned()));
    {
        let catalog = Catalog::open(&path).await.expect("open");
        let lease = catalog.begin(&job, &dead_owner()).await.expect("begin");
        let owner = dead_owner();
        let event = JobEvent::TakenUp { owner };
        let recorded = RecordedEvent {
            seq: 0,
            at: job.created_at,
            event,
        };
        let state = JobState::InProgress;
        catalog
            .append(&lease, &recorded, state)
            .await
            .expect("append");
        // No close: connections and journal are left as they are.
        std::mem::forget(catalog);
    }
    // After a power cut the index of the journal is not there.
    let copy = path.with_file_name("copy.db");
    for part in ["", "-wal"] {
        let with = |path: &Path| format!("{}{part}", path.display());
        fs::copy(with(&path), with(&copy)).expect("copy");
    }
    for path in [path, copy] {
        let catalog = Catalog::open(&path).await.expect("open again");
        let story = catalog.load(job.id).await.expect("load");
        assert_eq!(story.events.len(), 1);
        assert_eq!(story.header.state, JobState::InProgress);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_at_once_never_fail() {
    let (_directory, path) = scratch();
    let opened = tokio::join!(Catalog::open(&path), Catalog::open(&path));
    let catalogs = [opened.0.expect("open"), opened.1.expect("open")].map(Arc::new);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let catalog = Arc::clone(&catalogs[number % 2]);
        tasks.spawn(async move {
            let job = new_job(&format!("vm{number}"), None);
            let lease = catalog.begin(&job, &Owner::current()).await.expect("begin");
            for seq in 0..40 {
                let warning = Warning::from("w");
                let sub_task = None;
                let event = JobEvent::Warned { sub_task, warning };
                let at = job.created_at;
                let recorded = RecordedEvent { seq, at, event };
                let state = JobState::InProgress;
                catalog
                    .append(&lease, &recorded, state)
                    .await
                    .expect("append");
            }
            job.id
        });
    }
    while let Some(job) = tasks.join_next().await {
        let story = catalogs[0].load(job.expect("task")).await.expect("load");
        assert_eq!(story.events.len(), 40);
    }
}
