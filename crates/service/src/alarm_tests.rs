//! Alerts and what is told of them, on a real catalog.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of test functions"
)]

use serde_json::{Value, json};
use tempfile::TempDir;
use tresor_catalog::{ChannelRecord, NotificationRecord};
use tresor_problem::Kind;

use super::*;

const ZONE: TimeZone = TimeZone::UTC;

async fn catalog() -> (TempDir, Catalog) {
    let directory = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&directory.path().join("catalog.db")).await;
    let catalog = catalog.unwrap();
    let channel = ChannelRecord {
        name: "ops".to_owned(),
        settings: json!({"way": {"webhook": {"url": "https://example.org"}}}),
        secret: None,
        created_at: Timestamp::now(),
        last_sent_at: None,
        failing_since: None,
        failure: None,
        digest_at: None,
    };
    catalog.set_channel(&channel, false).await.unwrap();
    (directory, catalog)
}

/// What waits, as event and subject.
async fn told(catalog: &Catalog) -> Vec<(Value, Value)> {
    let due = catalog
        .due_notifications(Timestamp::MAX, 1000)
        .await
        .unwrap();
    let words =
        |waits: &NotificationRecord| (waits.body["event"].clone(), waits.body["subject"].clone());
    due.iter().map(words).collect()
}

fn late(vm: &str) -> (String, Problem) {
    let [vm, last, due] = [vm, "none", "then"].map(str::to_owned);
    (vm.clone(), Kind::RecoveryPointLate { vm, last, due }.into())
}

#[tokio::test]
async fn a_failure_is_told_once_and_so_is_the_first_success_after_it() {
    let (_directory, catalog) = catalog().await;
    let gone = Problem::from(Kind::VmNotFound {
        vm: "web01".to_owned(),
    });
    for _ in 0..3 {
        raise(&catalog, &ZONE, "web01", &gone).await.unwrap();
    }
    let failed = (json!("backup_failed"), json!("web01"));
    assert_eq!(told(&catalog).await, std::slice::from_ref(&failed));
    for _ in 0..3 {
        quiet(&catalog, &ZONE, "web01", None).await.unwrap();
    }
    let recovered = (json!("backup_recovered"), json!("web01"));
    assert_eq!(told(&catalog).await, [failed, recovered]);
}

#[tokio::test]
async fn what_is_late_has_an_alert_for_as_long_as_it_is() {
    let (_directory, catalog) = catalog().await;
    let both = [late("a"), late("b")];
    for _ in 0..2 {
        note_late(&catalog, &ZONE, &both).await.unwrap();
    }
    let mut expected = vec![
        (json!("vm_late"), json!("a")),
        (json!("vm_late"), json!("b")),
    ];
    assert_eq!(told(&catalog).await, expected);
    let failed = Problem::from(Kind::VmNotFound { vm: "a".to_owned() });
    raise(&catalog, &ZONE, "a", &failed).await.unwrap();
    note_late(&catalog, &ZONE, &both[1..]).await.unwrap();
    expected.push((json!("backup_failed"), json!("a")));
    expected.push((json!("vm_on_time"), json!("a")));
    assert_eq!(told(&catalog).await, expected);
    let open = open(&catalog).await.unwrap();
    let open: BTreeSet<_> = open
        .iter()
        .map(|alert| (alert.subject.as_str(), alert.problem.code.as_str()))
        .collect();
    let wanted = [("a", "VmNotFound"), ("b", "RecoveryPointLate")];
    assert_eq!(open, BTreeSet::from(wanted), "its other problem stays");
}

#[tokio::test]
async fn many_that_are_late_at_once_are_kept_in_one_go() {
    let (_directory, catalog) = catalog().await;
    let all: Vec<_> = (0..900)
        .map(|number| late(&format!("vm{number}")))
        .collect();
    note_late(&catalog, &ZONE, &all).await.unwrap();
    assert_eq!(told(&catalog).await.len(), 900);
    note_late(&catalog, &ZONE, &[]).await.unwrap();
    assert!(open(&catalog).await.unwrap().is_empty());
}
