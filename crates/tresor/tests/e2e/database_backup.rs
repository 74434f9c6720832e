//! The machine of the service is lost: its vault alone has the whole installation.

use std::{fs, path::Path};

use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
    time::{Duration, Instant},
};
use tresor_backend::LocalBackend;
use tresor_model::VmId;
use tresor_testkit::Guest;
use tresor_vault::{KeyMaterial, Vault};

use crate::{
    lab::{Lab, VM, assert_unharmed, finish, modes, write_private},
    postgres_server::PostgresServer,
    retention::points_in,
    running::signal,
    service::{PATIENCE, request, serving, told},
};

async fn serve(lab: &Lab, port: &str) -> (Child, Value) {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(lab.path("serve.log"));
    let listen = format!("127.0.0.1:{port}");
    let mut command = lab.command(&["serve", "--listen", &listen]);
    command.env("TRESOR_LOG", "info").stderr(log.unwrap());
    let mut child = command.spawn().unwrap();
    let said = serving(&mut child).await;
    (child, said)
}

/// A host with a state of its own, that runs until it is dropped.
async fn host(lab: &Lab, port: &str) -> Child {
    let made = lab.run(&["hosts", "token", "node1"]).await.ok();
    let token = lab.path("token");
    write_private(&token, made["token"].as_str().unwrap());
    let server = format!("https://127.0.0.1:{port}");
    let args = [
        "host",
        "--server",
        &server,
        "--name",
        "node1",
        "--token-file",
        token.to_str().unwrap(),
    ];
    let log = fs::File::create(lab.path("host.log")).unwrap();
    let mut command = lab.command_with_state(&lab.path("host"), &args);
    command.env("TRESOR_LOG", "info").stderr(log);
    let mut child = command.spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).lines().next_line().await.unwrap();
    child
}

/// Waits until it is so.
async fn until(lab: &Lab, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        let of_host = fs::read_to_string(lab.path("host.log")).unwrap_or_default();
        assert!(Instant::now() < end, "{what}: {}\n{of_host}", told(lab));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn is_connected(lab: &Lab) -> bool {
    let hosts = lab.run(&["hosts", "list"]).await.rows();
    hosts.iter().any(|host| host["state"] == "connected")
}

/// The host's last sign of life.
async fn seen(lab: &Lab) -> Value {
    let hosts = lab.run(&["hosts", "list"]).await.rows();
    let host = hosts.iter().find(|host| host["name"] == "node1");
    host.unwrap()["last_seen"].clone()
}

async fn jobs(lab: &Lab, kind: &str, state: &str) -> Vec<Value> {
    let jobs = lab.run(&["jobs", "list", "--limit", "100"]).await.rows();
    let wanted = |job: &Value| job["kind"] == kind && job["state"] == state;
    jobs.into_iter().filter(wanted).collect()
}

fn restore<'a>(vault: &'a Path, key: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let (vault, key) = (vault.to_str().unwrap(), key.to_str().unwrap());
    let restore = ["catalog", "restore", vault, "--key-file", key];
    [&restore[..], more].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_comes_back_from_its_vault_alone() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    let (vault, key) = (lab.vault(), lab.path("recovery"));
    write_private(&key, &lab.recovery_key);
    let nothing = restore(&vault, &key, &["--into", "/nowhere"]);
    lab.run(&nothing).await.raises("DatabaseBackupNotFound");

    lab.run(&["protect", VM, "--policy", "nightly"]).await.ok();
    let (first, said) = serve(&lab, "0").await;
    let port = said["address"]
        .as_str()
        .unwrap()
        .rsplit_once(':')
        .unwrap()
        .1
        .to_owned();
    let _host = host(&lab, &port).await;
    until(&lab, "the host", async || is_connected(&lab).await).await;
    // The service does it by itself.
    until(&lab, "a backup of the database", async || {
        !jobs(&lab, "catalog", "completed").await.is_empty()
    })
    .await;
    lab.backup().await;
    let backed_up = lab.run(&["catalog", "backup"]).await.ok();
    // Made after it: only the vault knows.
    lab.backup().await;
    let points = lab.run(&["points", "list"]).await.rows();
    assert_eq!(
        points.len(),
        2,
        "the database's own are not listed: {points:?}"
    );
    signal(first.id().unwrap(), "KILL");
    finish(&["serve"], first).await;
    let lost = lab.path("lost");
    fs::rename(lab.state(), &lost).unwrap();

    let listed = lab.run(&restore(&vault, &key, &["--list"])).await.rows();
    assert_eq!(listed.len(), 1, "of one day the newest stays: {listed:?}");
    let images = lab.path("images");
    let made = backed_up["point"].as_str().unwrap();
    let (from, to) = (vault.to_str().unwrap(), images.to_str().unwrap());
    let as_vm = ["restore", made, "--vault", from, "--to", to];
    let as_vm = [&as_vm[..], &["--key-file", key.to_str().unwrap()]].concat();
    lab.run_elsewhere(&as_vm).await.raises("UsageError");
    let old = restore(&vault, &key, &["--at", "2020-01-01"]);
    lab.run(&old).await.raises("DatabaseBackupNotFound");
    let restored = lab.run(&restore(&vault, &key, &[])).await.ok();
    assert_eq!(restored["point"], backed_up["point"], "{restored}");
    assert_eq!(
        (&restored["points"], &restored["hosts"]),
        (&2.into(), &1.into()),
        "{restored}"
    );
    assert_eq!(restored["items"], 1, "{restored}");
    lab.run(&restore(&vault, &key, &[]))
        .await
        .raises("CatalogPresent");
    let mode = fs::metadata(lab.state().join("identity/ca.key")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&mode) & 0o777, 0o600);

    let before = seen(&lab).await;
    let (second, again) = serve(&lab, &port).await;
    assert_eq!(again["ca_fingerprint"], said["ca_fingerprint"]);
    assert!(again["admin_token"].is_null(), "{again}");
    let bearer = format!(
        "Authorization: Bearer {}",
        said["admin_token"].as_str().unwrap()
    );
    let url = again["url"].as_str().unwrap().trim_end_matches('/');
    let (status, body) = request(&lab, url, "/api/v1/items", &["-H", &bearer]).await;
    assert!(status == 200 && body.contains("nightly"), "{status} {body}");
    until(&lab, "the host again", async || seen(&lab).await != before).await;
    let (status, body) = request(&lab, url, "/api/v1/audit", &["-H", &bearer]).await;
    assert!(
        status == 200 && body.contains("catalog.restore"),
        "{status} {body}"
    );
    let point = lab.backup().await;
    assert_eq!(modes(&point), ["incremental"; 2], "{point}");
    assert_unharmed(&guest).await;

    // The old one comes back, and the new one sees it.
    lab.run_with_state(&lost, &["catalog", "backup"]).await.ok();
    let both = lab.run(&["catalog", "backup"]).await.ok();
    let job = both["point"].as_str().unwrap();
    lab.warns("AnotherServiceWrites", job).await;
    lab.run(&["verify"]).await.ok();
    lab.run(&["check"]).await.ok();
    signal(second.id().unwrap(), "TERM");
    finish(&["serve"], second).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_goes_from_sqlite_to_postgresql_and_back() {
    let guest = Guest::builder().start().await.unwrap();
    let mut lab = Lab::with(&guest).await;
    let (vault, key) = (lab.vault(), lab.path("recovery"));
    write_private(&key, &lab.recovery_key);
    lab.run(&["protect", VM, "--policy", "nightly"]).await.ok();
    lab.backup().await;
    lab.run(&["catalog", "backup"]).await.ok();

    let server = PostgresServer::start();
    let (shared, back) = (lab.path("shared"), lab.path("back"));
    lab.database = Some(server.url());
    let into = restore(&vault, &key, &["--into", shared.to_str().unwrap()]);
    let restored = lab.run(&into).await.ok();
    assert_eq!(restored["items"], 1, "{restored}");
    let into_lost = restore(&vault, &key, &["--into", back.to_str().unwrap()]);
    lab.run(&into_lost).await.raises("CatalogPresent");
    let point = lab.run_with_state(&shared, &["backup", VM]).await.ok();
    assert_eq!(modes(&point), ["incremental"], "{point}");
    lab.run_with_state(&shared, &["catalog", "backup"])
        .await
        .ok();

    lab.database = None;
    let into = restore(&vault, &key, &["--into", back.to_str().unwrap()]);
    let restored = lab.run(&into).await.ok();
    assert_eq!(restored["points"], 2, "{restored}");
    let point = lab.run_with_state(&back, &["backup", VM]).await.ok();
    assert_eq!(modes(&point), ["incremental"], "{point}");
    let policies = lab
        .run_with_state(&back, &["policies", "list"])
        .await
        .rows();
    let nightly = policies.iter().any(|policy| policy["name"] == "nightly");
    assert!(nightly, "{policies:?}");
    assert_unharmed(&guest).await;
}

/// Whoever may put points may say that one is a backup of this very database.
#[tokio::test]
async fn what_a_host_calls_a_backup_of_the_database_is_none() {
    let lab = Lab::new().await;
    let (vault, key) = (lab.vault(), lab.path("recovery"));
    write_private(&key, &lab.recovery_key);
    let genuine = lab.run(&["catalog", "backup"]).await.ok();
    let listed = lab.run(&restore(&vault, &key, &["--list"])).await.rows();
    let installation: VmId = listed[0]["installation"].as_str().unwrap().parse().unwrap();

    let host = lab.path("host.key");
    let host = host.to_str().unwrap();
    let add = ["vault", "key", "add", "--own-domain", "--label", "host"];
    lab.run(&[&add[..], &["--new-key-file", host]].concat())
        .await
        .ok();
    let backend = || async {
        let opened = LocalBackend::open(&vault).await;
        std::sync::Arc::new(opened.unwrap())
    };
    let of_host = KeyMaterial::KeyFile(fs::read(host).unwrap().into());
    let by_host = Vault::open(backend().await, &of_host).await.unwrap();
    let name = (installation, "tresor-database");
    points_in(&by_host, name, &[Timestamp::now()]).await;
    let elsewhere = lab.path("elsewhere");
    let into = ["--into", elsewhere.to_str().unwrap()];
    let run = lab.run(&restore(&vault, &key, &into)).await;
    assert_eq!(run.ok()["point"], genuine["point"]);
    assert!(run.stderr().contains("left out"), "{}", run.stderr());
    // It takes no genuine one's place either.
    let next = lab.run(&["catalog", "backup"]).await.ok();
    assert_eq!(
        next["removed"].as_array().map(Vec::len),
        Some(1),
        "of one day the newest stays"
    );
    // Not copied, so that it is not the owner's word in another vault.
    let second = lab.path("second");
    let create = [
        "vault",
        "create",
        second.to_str().unwrap(),
        "--name",
        "second",
    ];
    lab.run(&create).await.ok();
    lab.run(&["copy", "--from", "vault", "--to", "second"])
        .await
        .ok();
    let of_second = lab.state().join("keys/second.key");
    let listed = lab
        .run(&restore(&second, &of_second, &["--list"]))
        .await
        .rows();
    assert_eq!(listed.len(), 1, "{listed:?}");

    // One of the owner's own keys that holds no database.
    let owner = KeyMaterial::Recovery(lab.recovery_key.clone().into());
    let by_owner = Vault::open(backend().await, &owner).await.unwrap();
    points_in(&by_owner, name, &[Timestamp::now()]).await;
    let overwrite = [&into[..], &["--overwrite"]].concat();
    let unusable = lab.run(&restore(&vault, &key, &overwrite)).await;
    unusable.raises("DatabaseBackupUnusable");
}
