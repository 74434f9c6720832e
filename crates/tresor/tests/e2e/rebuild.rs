//! The catalog is lost: the vaults have what is needed to go on (invariant I7).

use serde_json::Value;
use tresor_testkit::Guest;

use crate::{
    lab::{Lab, VM, modes, write_private},
    postgres_server::PostgresServer,
};

async fn lists(lab: &Lab) -> [Vec<Value>; 3] {
    [
        lab.run(&["vault", "list"]).await.rows(),
        lab.run(&["vm", "list"]).await.rows(),
        lab.run(&["points", "list"]).await.rows(),
    ]
}

fn lose_catalog(lab: &Lab) {
    for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let removed = std::fs::remove_file(lab.state().join(file));
        assert!(removed.is_ok() || file != "catalog.db", "{removed:?}");
    }
}

#[tokio::test]
async fn a_lost_catalog_is_made_anew_and_the_next_backup_is_incremental() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    lab.backup().await;
    let before = lists(&lab).await;
    assert_eq!(before[2].len(), 2);

    lose_catalog(&lab);
    assert!(lab.run(&["vm", "list"]).await.rows().is_empty());
    let vault = format!("vault={}", lab.vault().display());
    let rebuild = ["catalog", "rebuild", "--vault", &vault];
    let rebuilt = lab.run(&rebuild).await.ok();
    assert_eq!(rebuilt["points"], 2, "{rebuilt}");
    assert_eq!(rebuilt["vms"][0], VM, "{rebuilt}");
    assert_eq!(lists(&lab).await, before);
    let point = lab.backup().await;
    assert_eq!(modes(&point), ["incremental"; 2], "{point}");

    // Doing it again changes nothing; without a name it is about what is known.
    let before = lists(&lab).await;
    let again = lab.run(&["catalog", "rebuild"]).await.ok();
    assert_eq!(again["vms"].as_array().unwrap().len(), 0, "{again}");
    lab.run(&rebuild).await.ok();
    assert_eq!(lists(&lab).await, before);
}

/// The machine is another one, with nothing but the recovery key, and a database that is shared.
#[tokio::test]
async fn another_machine_rebuilds_with_the_recovery_key_into_postgresql() {
    let guest = Guest::builder().start().await.unwrap();
    let mut lab = Lab::with(&guest).await;
    lab.backup().await;
    let before = lists(&lab).await;
    let server = PostgresServer::start();
    lab.database = Some(server.url());
    std::fs::rename(lab.state(), lab.path("lost")).unwrap();
    let vault = lab.vault();
    let rebuild = ["catalog", "rebuild", "--vault", vault.to_str().unwrap()];
    lab.run(&rebuild).await.raises("VaultKeyMissing");
    let key = lab.path("recovery");
    write_private(&key, &lab.recovery_key);
    let with_key = [&rebuild[..], &["--key-file", key.to_str().unwrap()]].concat();
    lab.run(&with_key).await.ok();
    assert_eq!(lists(&lab).await, before);
    let noted = server.sql("postgres", "SELECT count(*) FROM points");
    assert_eq!(noted, "1");
    // This machine has a key of its own now.
    let point = lab.backup().await;
    assert_eq!(modes(&point), ["incremental"], "{point}");
}
