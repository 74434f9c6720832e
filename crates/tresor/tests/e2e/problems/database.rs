//! The database of the catalog: no URL, away, not ours, full.

use std::{fs, time::Duration};

use tokio::time::Instant;

use super::{storage::fill, tmpfs::Tmpfs, write_with_mode};
use crate::{
    lab::Lab,
    postgres_server::PostgresServer,
    running::signal,
    service::{MINUTELY, PATIENCE, serving},
};

#[tokio::test]
async fn a_database_that_cannot_be_the_catalog() {
    let server = PostgresServer::start();
    let mut lab = Lab::without_vault();
    let list = ["vm", "list"];
    for bad in ["mysql://secret@h/d", "postgres://secret@h:x/d"] {
        lab.database = Some(bad.to_owned());
        let problem = lab.run(&list).await.raises("UsageError");
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
    lab.database = Some("postgres://tresor:secret@127.0.0.1:1/tresor".to_owned());
    let problem = lab.run(&list).await.raises("DatabaseUnreachable");
    let shown = "postgres://tresor@127.0.0.1:1/tresor";
    assert_eq!(problem["fields"]["database"], shown, "{problem}");
    assert!(!problem.to_string().contains("secret"), "{problem}");

    lab.database = Some(server.tcp_url("secret", "postgres"));
    let problem = lab.run(&list).await.raises("DatabaseRefused");
    assert!(!problem.to_string().contains("secret"), "{problem}");

    server.sql("postgres", "CREATE DATABASE songs");
    server.sql("songs", "CREATE TABLE songs (title TEXT)");
    lab.database = Some(server.url().replace("/postgres?", "/songs?"));
    lab.run(&list).await.raises("DatabaseForeign");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(server.sql("songs", tables), "1", "left as it is");

    lab.database = Some(server.url());
    lab.run(&list).await.ok();
    server.sql("postgres", "INSERT INTO schema_versions VALUES (99, 0)");
    lab.run(&list).await.raises("DatabaseVersionUnknown");
    server.sql("postgres", "DELETE FROM schema_versions WHERE version = 99");

    // By a file, which nobody else may read.
    let file = lab.path("database");
    let by_file = ["vm", "list", "--database-file", file.to_str().unwrap()];
    lab.run(&by_file).await.raises("UsageError");
    let url = lab.database.take().unwrap();
    write_with_mode(&file, &format!("{url}\n"), 0o644);
    let problem = lab.run(&by_file).await.raises("UsageError");
    assert!(problem["cause"].as_str().unwrap().contains("chmod 600"));
    write_with_mode(&file, &format!("{url}\n"), 0o600);
    lab.run(&by_file).await.ok();
    assert!(!lab.state().join("catalog.db").exists());
}

/// Nothing is lost, and the service goes on by itself when there is space again.
#[tokio::test]
async fn a_full_disk_below_the_catalog() {
    let mut lab = Lab::without_vault();
    let tmpfs = Tmpfs::mount(lab.state(), 16).await;
    lab.create_vault().await;
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let log = fs::File::create(lab.path("serve.log")).unwrap();
    let mut command = lab.command(&serve);
    command.env("TRESOR_LOG", "info").stderr(log);
    let mut served = command.spawn().unwrap();
    serving(&mut served).await;
    tells(&lab, "this process schedules", 1).await;
    let file = lab.path("minutely.toml");
    fs::write(&file, MINUTELY).unwrap();
    let set = ["policies", "set", file.to_str().unwrap()];
    lab.run(&set).await.ok();
    fs::write(&file, MINUTELY.replace("daily = 7", "daily = 8")).unwrap();

    let filler = tmpfs.path().join("filler");
    fill(&filler);
    // More often than it has connections: none of them may be lost by it.
    tells(&lab, "no space is left for the database", 6).await;
    lab.run(&set).await.raises("DatabaseFull");

    fs::remove_file(&filler).unwrap();
    let changed = lab.run(&set).await.ok();
    assert_eq!(changed["revision"], 2, "the first one is not lost");
    tells(&lab, "this process schedules", 2).await;
    lab.run(&["status", "--check"]).await.ok();
    signal(served.id().unwrap(), "TERM");
    assert!(served.wait().await.unwrap().success());
}

/// Waits until the service has said this so often.
async fn tells(lab: &Lab, what: &str, times: usize) {
    let until = Instant::now() + PATIENCE;
    loop {
        let told = fs::read_to_string(lab.path("serve.log")).unwrap_or_default();
        if told.matches(what).count() >= times {
            return;
        }
        assert!(Instant::now() < until, "{what} is not said: {told}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
