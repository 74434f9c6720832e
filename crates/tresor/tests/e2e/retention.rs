//! Retention, pins, locks and deletions through the program. The recovery points are put into the
//! vault by the library: with years between them, which no VM of a test lives.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tresor_backend::LocalBackend;
use tresor_model::{PointId, SessionId, VmId};
use tresor_vault::{KeyMaterial, SessionOptions, Vault};

use crate::{
    lab::{Lab, write_private},
    vault_support::{noise, point, write_all},
};

/// Points of one VM at these times, oldest first.
pub(crate) async fn make_points(lab: &Lab, vm_name: &str, times: &[Timestamp]) -> Vec<PointId> {
    let backend = LocalBackend::open(&lab.vault()).await.unwrap();
    let key = KeyMaterial::Recovery(lab.recovery_key.clone().into());
    let vault = Vault::open(std::sync::Arc::new(backend), &key)
        .await
        .unwrap();
    let (vm, mut made) = (VmId::generate(), Vec::new());
    for (number, at) in (1..).zip(times) {
        let session = SessionOptions::new(SessionId::generate());
        let session = vault.begin_session(session).await.unwrap();
        let content = noise(number, 1 << 16);
        let disk = write_all(&session, "vda", &content, None, 1 << 16);
        let disk = disk.await.unwrap().0;
        let mut made_point = point(session.id(), vec![disk]);
        (made_point.vm, made_point.sequence) = (vm, number);
        made_point.taken_at = *at;
        vm_name.clone_into(&mut made_point.vm_name);
        made.push(session.commit(made_point).await.unwrap());
    }
    made
}

/// Noon of so many days, the last one yesterday.
fn days(count: i64) -> Vec<Timestamp> {
    let now = Timestamp::now();
    let days = (1..=count).rev();
    days.map(|day| now - SignedDuration::from_hours(24 * day))
        .collect()
}

async fn listed(lab: &Lab, more: &[&str]) -> Vec<String> {
    let run = lab.run(&[&["points", "list"], more].concat()).await;
    run.ok();
    let ids = run.lines().into_iter();
    ids.map(|row| {
        row["point"]
            .as_str()
            .or(row["id"].as_str())
            .unwrap()
            .to_owned()
    })
    .collect()
}

fn ids(points: &[PointId]) -> Vec<String> {
    points.iter().map(ToString::to_string).collect()
}

async fn expire(lab: &Lab, args: &[&str]) -> Value {
    let run = lab
        .run(&[&["expire", "--time-zone", "UTC"], args].concat())
        .await;
    run.ok()
}

#[tokio::test]
async fn a_plan_is_printed_and_then_exactly_it_is_applied() {
    let lab = Lab::new().await;
    let points = make_points(&lab, "web01", &days(10)).await;
    let other = make_points(&lab, "db01", &days(1)).await;
    let dry = [
        "web01",
        "--keep-last",
        "2",
        "--keep-daily",
        "3",
        "--dry-run",
    ];
    let run = lab.run(&[&["expire"], &dry[..]].concat()).await;
    let plan = run.ok();
    assert_eq!(
        (&plan["keep"], &plan["remove"]),
        (&3.into(), &7.into()),
        "{plan}"
    );
    for row in run
        .lines()
        .iter()
        .filter(|row| row["message_type"] == "expire_decision")
    {
        assert!(!row["reason"].as_str().unwrap().is_empty(), "{row}");
    }
    assert_eq!(listed(&lab, &[]).await.len(), 11, "nothing was changed");
    // The same again is the same plan.
    let id = plan["plan"].as_str().unwrap();
    assert_eq!(
        expire(&lab, &dry).await["plan"].as_str().unwrap().len(),
        id.len()
    );
    // Without agreement nothing happens.
    lab.run(&["expire", "web01", "--keep-last", "2"])
        .await
        .raises("UsageError");
    let done = lab.run(&["expire", "--apply", id]).await.ok();
    assert_eq!(done["removed"].as_array().unwrap().len(), 7);
    let left = [ids(&points[7..]), ids(&other)].concat();
    let mut now = listed(&lab, &[]).await;
    assert!(
        left.iter().all(|id| now.contains(id)) && now.len() == 4,
        "{now:?}"
    );
    // It can be taken back, and is restored then.
    let deleted = points[3].to_string();
    let to = lab.path("to");
    let restore = ["restore", &deleted, "--to", to.to_str().unwrap()];
    lab.run(&restore).await.raises("PointDeleted");
    assert_eq!(listed(&lab, &["--deleted"]).await.len(), 11);
    lab.run(&["points", "undelete", &deleted]).await.ok();
    lab.run(&restore).await.ok();
    // The plan is not what would be done now.
    lab.run(&["expire", "--apply", id])
        .await
        .raises("PlanChanged");
    lab.run(&["expire", "--apply", "0123456789abcdef"])
        .await
        .raises("PlanUnknown");
    now = listed(&lab, &[]).await;
    assert_eq!(now.len(), 5);
}

#[tokio::test]
async fn what_is_deleted_goes_for_good_after_its_grace() {
    let lab = Lab::new().await;
    let points = make_points(&lab, "web01", &days(3)).await;
    let newest = points[2].to_string();
    lab.run(&["points", "delete", &newest])
        .await
        .raises("PointHeld");
    let oldest = points[0].to_string();
    lab.run(&["points", "delete", &oldest, "--grace", "0d"])
        .await
        .ok();
    assert_eq!(listed(&lab, &[]).await, ids(&points[1..]));
    // No rules are set: only what was deleted goes.
    let done = expire(&lab, &["--yes"]).await;
    assert_eq!(done["removed"], serde_json::json!([oldest]), "{done}");
    lab.run(&["points", "undelete", &oldest])
        .await
        .raises("PointExpired");
    assert_eq!(listed(&lab, &["--deleted"]).await, ids(&points[1..]));
    // With no grace at all, at once.
    let done = expire(&lab, &["--keep-last", "1", "--grace", "0d", "--yes"]).await;
    assert_eq!(done["removed"], serde_json::json!([points[1].to_string()]));
    assert_eq!(listed(&lab, &["--deleted"]).await, [newest]);
}

#[tokio::test]
async fn pins_locks_and_a_locked_vault_hold() {
    let lab = Lab::new().await;
    let points = make_points(&lab, "web01", &days(5)).await;
    let [pinned, locked, plain] = [0, 1, 2].map(|at| points[at].to_string());
    lab.run(&["points", "pin", &pinned]).await.ok();
    let lock = lab
        .run(&["points", "lock", &locked, "--for", "30d"])
        .await
        .ok();
    let until = &lock["marks"]["immutable_until"];
    let shorter = lab
        .run(&["points", "lock", &locked, "--for", "1d"])
        .await
        .ok();
    assert_eq!(&shorter["marks"]["immutable_until"], until);
    lab.run(&["points", "delete", &pinned])
        .await
        .raises("PointHeld");
    let refused = lab
        .run(&["points", "delete", &locked])
        .await
        .raises("PointHeld");
    assert!(
        refused["cause"]
            .as_str()
            .unwrap()
            .contains("immutable until"),
        "{refused}"
    );
    expire(&lab, &["--keep-last", "1", "--yes"]).await;
    assert_eq!(
        listed(&lab, &[]).await,
        [pinned.clone(), locked.clone(), points[4].to_string()]
    );
    lab.run(&["points", "undelete", &plain]).await.ok();
    let vault = lab.vault();
    let lock = ["vault", "lock", vault.to_str().unwrap(), "--min-days", "30"];
    lab.run(&lock).await.raises("UsageError");
    assert_eq!(
        lab.run(&[&lock[..], &["--yes"]].concat()).await.ok()["lock_days"],
        30
    );
    let fewer = ["vault", "lock", vault.to_str().unwrap(), "--min-days", "3"];
    assert_eq!(lab.run(&fewer).await.ok()["lock_days"], 30);
    lab.run(&["points", "delete", &plain])
        .await
        .raises("PointHeld");
    lab.run(&["points", "unpin", &pinned]).await.ok();
    let done = expire(&lab, &["--keep-last", "1", "--yes"]).await;
    assert_eq!(done["remove"], 0, "{done}");
    // Also when the key is one that was added later, on a machine that knows nothing.
    let key = lab.path("recovery.txt");
    write_private(&key, &lab.recovery_key);
    let elsewhere = [
        "points",
        "delete",
        &plain,
        "--vault",
        vault.to_str().unwrap(),
    ];
    let with_key = ["--key-file", key.to_str().unwrap()];
    let run = lab
        .run_elsewhere(&[&elsewhere[..], &with_key].concat())
        .await;
    run.raises("PointHeld");
}
