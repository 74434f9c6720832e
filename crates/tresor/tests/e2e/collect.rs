//! `tresor collect` through the program.

use jiff::{SignedDuration, Timestamp};
use tresor_backend::LocalBackend;
use tresor_model::SessionId;
use tresor_vault::{KeyMaterial, SessionOptions, Vault};

use crate::{lab::Lab, retention::make_points};

fn days_ago(days: [i64; 3]) -> [Timestamp; 3] {
    days.map(|day| Timestamp::now() - SignedDuration::from_hours(24 * day))
}

async fn stored(lab: &Lab) -> u64 {
    let backend = LocalBackend::open(&lab.vault()).await.unwrap();
    let key = KeyMaterial::Recovery(lab.recovery_key.clone().into());
    let vault = Vault::open(std::sync::Arc::new(backend), &key).await;
    vault.unwrap().usage().await.unwrap().bytes
}

#[tokio::test]
async fn what_expired_is_freed_and_what_is_kept_restores() {
    let lab = Lab::new().await;
    let points = make_points(&lab, "web01", &days_ago([3, 2, 1])).await;
    let idle = lab.run(&["collect"]).await.ok();
    assert_eq!(idle["plan"]["sessions"], 0, "{idle}");
    // What is deleted stays as long as it can be brought back.
    let first = points[0].to_string();
    lab.run(&["points", "delete", &first]).await.ok();
    let nothing = lab.run(&["collect"]).await.ok();
    assert_eq!(nothing["plan"]["sessions"], 0, "{nothing}");
    lab.run(&["points", "undelete", &first]).await.ok();
    let keep = ["expire", "web01", "--keep-last", "1"];
    let at_once = ["--grace", "0s", "--yes"];
    lab.run(&[&keep[..], &at_once].concat()).await.ok();

    let before = stored(&lab).await;
    let plan = lab.run(&["collect", "--dry-run"]).await.ok();
    assert_eq!(plan["sessions"], 2, "{plan}");
    assert!(plan["dead_bytes"].as_u64().unwrap() > 2 << 16, "{plan}");
    assert_eq!(stored(&lab).await, before, "nothing was changed");
    let done = lab.run(&["collect"]).await.ok();
    assert_eq!(
        (&done["plan"], &done["finished"]),
        (&plan_of(&plan), &true.into())
    );
    assert!(stored(&lab).await + (2 << 16) < before, "{done}");
    let (kept, to) = (points[2].to_string(), lab.path("to"));
    lab.run(&["restore", &kept, "--to", to.to_str().unwrap()])
        .await
        .ok();
    lab.run(&["restore", &points[0].to_string(), "--to", "/nowhere"])
        .await
        .raises("PointNotFound");
    let verified = lab.run(&["verify"]).await.ok();
    assert_eq!(verified["points"][0], kept, "{verified}");
}

/// A plan as a run of collect shows it.
fn plan_of(line: &serde_json::Value) -> serde_json::Value {
    let mut plan = line.clone();
    plan.as_object_mut().unwrap().remove("message_type");
    plan
}

#[tokio::test]
async fn a_backup_that_runs_is_waited_for_and_a_dead_one_is_ended() {
    let lab = Lab::new().await;
    let points = make_points(&lab, "web01", &days_ago([3, 2, 1])).await;
    let backend = LocalBackend::open(&lab.vault()).await.unwrap();
    let key = KeyMaterial::Recovery(lab.recovery_key.clone().into());
    let vault = Vault::open(std::sync::Arc::new(backend), &key)
        .await
        .unwrap();
    vault.expire(points[0]).await.unwrap();
    let session = SessionOptions::new(SessionId::generate());
    let session = vault.begin_session(session).await.unwrap();
    let waits = lab.run(&["collect", "--wait", "0s"]).await.ok();
    assert_eq!(waits["finished"], false, "{waits}");
    let waiting = &waits["collected"]["waiting"];
    assert_eq!(waiting[0], session.id().to_string(), "{waits}");
    // Its writer does not come back.
    let args = ["collect", "--abort-sessions-older-than", "0s"];
    let done = lab.run(&args).await.ok();
    assert_eq!(done["finished"], true, "{done}");
    assert_eq!(done["resumed"]["aborted"][0], session.id().to_string());
    assert_eq!(lab.run(&["points", "list"]).await.lines().len(), 2);
}
