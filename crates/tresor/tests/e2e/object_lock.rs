//! What is immutable, held by an S3 server with Object Lock.

use std::sync::Arc;

use serde_json::Value;
use tresor_backend_object::{ObjectBackend, Place, Secrets, Settings};
use tresor_model::{PointId, VmId};
use tresor_testkit::stores::{Fault, Moto, Proxy};
use tresor_vault::{KeyMaterial, Vault};

use crate::{
    lab::Lab,
    retention::{days, points_in},
    stores::{run_on, run_with_credentials as run},
};

const URL: &str = "s3://locking/vault";

async fn moto() -> Moto {
    let moto = Moto::start().unwrap();
    moto.make_locking_bucket("locking").await.unwrap();
    moto.make_bucket("plain", false).await.unwrap();
    moto
}

fn store(server: &str, url: &str) -> ObjectBackend {
    let settings = Settings {
        endpoint: Some(server.to_owned()),
        allow_http: true,
        ..Settings::default()
    };
    let secrets = Secrets::default()
        .with("AWS_ACCESS_KEY_ID", "AK")
        .with("AWS_SECRET_ACCESS_KEY", "hush-hush");
    ObjectBackend::open(Place::parse(url).unwrap().unwrap(), &settings, &secrets).unwrap()
}

/// Makes a vault there, and points in it.
async fn vault_with_points(lab: &Lab, server: &str, url: &str, count: i64) -> Vec<PointId> {
    let made = run_on(lab, server, &["vault", "create", url]).await.ok();
    let key = KeyMaterial::Recovery(made["recovery_key"].as_str().unwrap().to_owned().into());
    let vault = Vault::open(Arc::new(store(server, url)), &key);
    let vm = (VmId::generate(), "web01");
    points_in(&vault.await.unwrap(), vm, &days(count)).await
}

/// A point that is locked: the server holds it, whoever has the credentials.
#[tokio::test]
async fn a_point_that_is_locked() {
    let (lab, moto) = (Lab::without_vault(), moto().await);
    let points = vault_with_points(&lab, moto.url(), URL, 2).await;
    let newest = points[1].to_string();
    let lock = run(&lab, &["points", "lock", &newest, "--for", "30d"])
        .await
        .ok();
    let until = &lock["marks"]["immutable_until"];
    assert_eq!(&lock["held"]["by_store"]["until"], until, "{lock}");
    // The same again finds all of it held.
    let again = run(&lab, &["points", "lock", &newest, "--for", "1d"])
        .await
        .ok();
    assert_eq!(&again["held"]["by_store"]["until"], until, "{again}");
    assert_eq!(again["held"]["by_store"]["asked"], 0, "{again}");

    // Whoever has the credentials removes what he can, and hides the rest.
    let bare = store(moto.url(), URL);
    let mut refused = 0;
    for meta in tresor_backend::Backend::list(&bare, "").await.unwrap() {
        match tresor_backend::Backend::delete(&bare, &meta.name).await {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.kind(), tresor_backend::ErrorKind::Retained);
                bare.hide(&meta.name).await.unwrap();
                refused += 1;
            }
        }
    }
    assert!(refused > 5, "{refused}");
    run(&lab, &["points", "list"]).await.raises("VaultNotFound");
    let hidden = run(&lab, &["vault", "unhide", "--dry-run"]).await.rows();
    assert_eq!(hidden.len(), refused, "{hidden:?}");
    let back = run(&lab, &["vault", "unhide"]).await.rows();
    assert_eq!(back.len(), refused, "{back:?}");
    assert!(run(&lab, &["vault", "unhide"]).await.rows().is_empty());
    let (to, other) = (lab.path("to"), points[0].to_string());
    let restore = ["restore", &newest, "--to", to.to_str().unwrap()];
    run(&lab, &restore).await.ok();
    run(&lab, &["points", "show", &other])
        .await
        .raises("PointNotFound");
}

/// A vault that is locked: all its points are, and its keys.
#[tokio::test]
async fn a_vault_that_is_locked() {
    let (lab, moto) = (Lab::without_vault(), moto().await);
    vault_with_points(&lab, moto.url(), URL, 2).await;
    let file = lab.path("other.key");
    let add = [
        "vault",
        "key",
        "add",
        "--new-key-file",
        file.to_str().unwrap(),
    ];
    let slot = run(&lab, &add).await.ok()["slot"].clone();
    let lock = ["vault", "lock", "vault", "--min-days", "8", "--yes"];
    let locked = run(&lab, &lock).await.ok();
    let asked = locked["held"]["by_store"]["asked"].as_u64().unwrap();
    assert!(asked > 5, "{locked}");
    let again = run(&lab, &lock).await.ok();
    assert_eq!(again["held"]["by_store"]["asked"], 0, "{again}");

    let remove = ["vault", "key", "remove", slot.as_str().unwrap(), "--yes"];
    let held = run(&lab, &remove).await.raises("VaultObjectRetained");
    let reason = held["fields"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("GOVERNANCE until "), "{held}");
    assert_eq!(run(&lab, &["vault", "key", "list"]).await.lines().len(), 3);
}

/// A server without Object Lock: the mark counts for Tresor, and it says that it does for nobody else.
#[tokio::test]
async fn a_server_that_holds_nothing() {
    let (lab, moto) = (Lab::without_vault(), moto().await);
    let points = vault_with_points(&lab, moto.url(), "s3://plain/vault", 1).await;
    let lock = ["points", "lock", &points[0].to_string(), "--for", "30d"];
    assert_eq!(run(&lab, &lock).await.ok()["held"], "not_supported");
}

/// A server that accepts what it does not do is told at `vault create`, by the doctor, and when a point
/// is to be held; where its locks are not wanted it will do.
#[tokio::test]
async fn a_server_that_accepts_and_ignores() {
    let (lab, moto) = (Lab::without_vault(), moto().await);
    let careless = Proxy::start(moto.url(), Fault::IgnoreRetention).await;
    let careless = careless.unwrap();
    let create = ["vault", "create", URL];
    let problem = run_on(&lab, careless.url(), &create)
        .await
        .raises("VaultHoldFailed");
    assert!(
        problem["fields"]["reason"]
            .as_str()
            .unwrap()
            .contains("ignores it"),
        "{problem}"
    );
    let left = tresor_backend::Backend::list(&store(moto.url(), URL), "").await;
    assert_eq!(left.unwrap(), [], "nothing is in the way");
    run_on(&lab, careless.url(), &["vault", "doctor", URL])
        .await
        .raises("VaultHoldFailed");
    let off = [&create[..], &["--object-lock", "off"]].concat();
    run_on(&lab, careless.url(), &off).await.ok();
    let doctor = run(&lab, &["vault", "doctor"]).await.rows();
    let row = doctor.iter().find(|row| is_about_locks(row)).unwrap();
    assert_eq!(row["verdict"], "note", "{row}");
}

/// Credentials that may not hold: the vault is made with a warning, and a lock says what is missing. The
/// point is marked all the same.
#[tokio::test]
async fn credentials_that_may_not_hold() {
    let (lab, moto) = (Lab::without_vault(), moto().await);
    let proxy = Proxy::start(moto.url(), Fault::ForbidRetention).await;
    let proxy = proxy.unwrap();
    let points = vault_with_points(&lab, proxy.url(), URL, 1).await;
    let id = points[0].to_string();
    let lock = ["points", "lock", &id, "--for", "30d"];
    run(&lab, &lock).await.raises("VaultHoldFailed");
    let shown = run(&lab, &["points", "delete", &id, "--even-newest"]).await;
    shown.raises("PointHeld");
}

fn is_about_locks(row: &Value) -> bool {
    let check = row["check"].as_str();
    check.is_some_and(|check| check.starts_with("locks on objects"))
}
