//! Leases and fences: two services that take each other for dead.

use jiff::Timestamp;
use serde_json::json;
use tresor_catalog::{
    AlertFilter, AuditFilter, AuditRecord, Catalog, CatalogError, CatalogErrorKind,
    DatasourceFilter, Fence, ItemFilter, LeaseRecord, NotificationRecord, Object, Page, RunEnd,
};
use tresor_jobs::{
    JobFilter, JobLog as _, JobQueue as _, LogErrorKind, Owner, Ticket, testing::contract::new_job,
};
use tresor_model::{AuditId, NotificationId, VmId};
use tresor_problem::{Kind, Problem};

use super::{first::machine, hosts::host, kind, now, policies::policy, registered_vm, seconds};

pub(super) async fn check(one: &Catalog, two: &Catalog) {
    are_got_renewed_and_given_back(one).await;
    one_of_two_gets_it(one, two).await;
    let vm = registered_vm(one, "fenced").await;
    one.add_policy(&policy("fenced"), now()).await.expect("add");
    one.protect(vm.id, "fenced", now()).await.expect("protect");
    an_old_holder_is_never_the_last_to_write(one, two, vm.id).await;
    an_old_fence_changes_nothing(one, &vm.name, vm.id).await;
    one.remove_item(vm.id).await.expect("remove");
    one.remove_policy("fenced").await.expect("remove");
    one.remove_vm("fenced").await.expect("remove");
}

async fn got(catalog: &Catalog, name: &str, owner: &str, at: Timestamp) -> Option<Fence> {
    let got = catalog.acquire(name, owner, at, seconds(30)).await;
    got.expect("acquire")
}

async fn are_got_renewed_and_given_back(catalog: &Catalog) {
    let at = now();
    let missing = CatalogErrorKind::NotFound(Object::Lease);
    assert_eq!(kind(catalog.lease("tick").await), missing);
    let first = got(catalog, "tick", "a", at).await.expect("free");
    assert_eq!((first.name(), first.epoch()), ("tick", 1));
    for owner in ["a", "b"] {
        let held = got(catalog, "tick", owner, at + seconds(29)).await;
        assert_eq!(held, None);
    }
    assert!(got(catalog, "other", "b", at).await.is_some());
    let renewed = catalog.renew(&first, at + seconds(20), seconds(30)).await;
    renewed.expect("renew");
    assert_eq!(got(catalog, "tick", "b", at + seconds(49)).await, None);
    let expected = LeaseRecord {
        name: "tick".to_owned(),
        owner: "a".to_owned(),
        epoch: 1,
        until: at + seconds(50),
    };
    assert_eq!(catalog.lease("tick").await.expect("lease"), expected);
    // Its time is over, and its holder is not heard of.
    let second = got(catalog, "tick", "b", at + seconds(50)).await;
    let second = second.expect("over");
    assert_eq!(second.epoch(), 2);
    let late = catalog.renew(&first, at + seconds(50), seconds(30)).await;
    assert_eq!(kind(late), CatalogErrorKind::Fenced);
    assert_eq!(
        kind(catalog.release(&first).await),
        CatalogErrorKind::Fenced
    );
    catalog.release(&second).await.expect("release");
    let gone = catalog.renew(&second, at, seconds(30)).await;
    assert_eq!(kind(gone), CatalogErrorKind::Fenced, "it was given back");
    let third = got(catalog, "tick", "a", at).await.expect("given back");
    assert!(third.epoch() > second.epoch());
}

async fn one_of_two_gets_it(one: &Catalog, two: &Catalog) {
    let begun = now();
    for round in 0..40 {
        let at = begun + seconds(30 * round);
        let (first, second) = tokio::join!(got(one, "race", "a", at), got(two, "race", "b", at));
        let winner = match (first, second) {
            (Some(fence), None) => (fence, "a"),
            (None, Some(fence)) => (fence, "b"),
            other => panic!("round {round}: {other:?}"),
        };
        let lease = one.lease("race").await.expect("lease");
        assert_eq!(
            (lease.owner.as_str(), lease.epoch),
            (winner.1, winner.0.epoch())
        );
        assert_eq!(winner.0.epoch(), u64::try_from(round).expect("number") + 1);
    }
}

/// The old holder writes for as long as it can while the new one takes over and writes.
async fn an_old_holder_is_never_the_last_to_write(one: &Catalog, two: &Catalog, vm: VmId) {
    let begun = now();
    for round in 0..20 {
        let at = begun + seconds(60 * round);
        let old = got(one, "writes", "a", at).await.expect("free");
        let old_writes = async {
            let under = one.under(&old);
            let mut written = 0;
            loop {
                match under.set_slot(vm, Some(1)).await {
                    Ok(()) => written += 1,
                    Err(error) => return (written, error.kind),
                }
            }
        };
        let new_writes = async {
            // Not before the old one has begun.
            while one.item(vm).await.expect("item").memory.slot_s != Some(1) {}
            let new = got(two, "writes", "b", at + seconds(30)).await;
            let under = two.under(&new.expect("over"));
            under.set_slot(vm, Some(2)).await.expect("write");
        };
        let ((written, end), ()) = tokio::join!(old_writes, new_writes);
        assert!(written > 0);
        assert_eq!(end, CatalogErrorKind::Fenced);
        assert_eq!(one.item(vm).await.expect("item").memory.slot_s, Some(2));
        one.set_slot(vm, None).await.expect("write");
    }
}

/// All that a service reads of what is written below.
async fn seen(catalog: &Catalog, vm: VmId) -> String {
    let jobs = catalog.list(&JobFilter::default()).await.expect("jobs");
    let (items, sources) = (ItemFilter::default(), DatasourceFilter::default());
    let (audit, alerts) = (AuditFilter::default(), AlertFilter::default());
    let lists = (
        jobs,
        catalog.items(&items, &Page::default()).await,
        catalog.audit(&audit, &Page::default()).await,
        catalog.alerts(&alerts, &Page::default()).await,
        catalog.datasources(&sources, &Page::default()).await,
        catalog.due_notifications(Timestamp::MAX, 100).await,
        catalog.hosts(&Page::default()).await,
        catalog.policies(&Page::default()).await,
        catalog.vm_by_id(vm).await.expect("vm"),
        catalog.vaults().await.expect("vaults"),
    );
    format!("{lists:?}")
}

async fn an_old_fence_changes_nothing(catalog: &Catalog, name: &str, vm: VmId) {
    let at = now();
    let old = got(catalog, "old", "a", at).await.expect("free");
    let new = got(catalog, "old", "b", at + seconds(30)).await;
    let under_new = catalog.under(&new.expect("over"));
    let waiting = new_job("waits", None);
    let ticket = Ticket {
        lane: "fenced".to_owned(),
        not_before: at,
        rank: 0,
    };
    under_new.enqueue(&waiting, &ticket).await.expect("enqueue");
    let before = seen(catalog, vm).await;
    assert!(!before.contains("Err("), "{before}");

    let late = catalog.under(&old);
    let problem = Problem::from(Kind::VmNotFound { vm: "x".to_owned() });
    let refused: Vec<Result<(), CatalogError>> = vec![
        late.add_host(&host("late")).await,
        late.report(None, &[], at).await,
        late.add_policy(&policy("late"), at).await.map(drop),
        late.update_policy(&policy("fenced"), 1, at).await.map(drop),
        late.remove_policy("fenced").await,
        late.protect(vm, "fenced", at).await,
        late.stop_protection(vm, at).await,
        late.remove_item(vm).await,
        late.set_slot(vm, Some(7)).await,
        late.note_started(vm, at, at).await,
        late.note_finished(vm, RunEnd::GivenUp).await,
        late.append_audit(&entry(at)).await,
        late.raise("late", &problem, at).await.map(drop),
        late.resolve("late", None, at).await.map(drop),
        late.add_notification(&notification(at)).await,
        late.rename_vm(name, "late").await,
        late.set_vm_machine(name, &machine()).await,
        late.remove_vm(name).await,
        late.set_key_source("vault of fenced", "late").await,
        late.acquire("another", "a", at, seconds(1)).await.map(drop),
    ];
    for (number, result) in refused.into_iter().enumerate() {
        assert_eq!(kind(result), CatalogErrorKind::Fenced, "write {number}");
    }
    let (job, me) = (new_job("late", None), Owner::current());
    let of_jobs = [
        late.enqueue(&job, &ticket).await,
        late.begin(&job, &me).await.map(drop),
        late.claim(waiting.id, &me).await.map(drop),
        late.requeue(waiting.id, &ticket).await,
        late.request_cancel(waiting.id).await,
    ];
    for (number, result) in of_jobs.into_iter().enumerate() {
        let lost = result.expect_err("must be refused").kind;
        assert_eq!(lost, LogErrorKind::LeaseLost, "write {number}");
    }
    assert_eq!(seen(catalog, vm).await, before);
    // The holder goes on.
    under_new.set_slot(vm, Some(7)).await.expect("write");
    under_new.claim(waiting.id, &me).await.expect("claim");
}

fn entry(at: Timestamp) -> AuditRecord {
    AuditRecord {
        id: AuditId::generate(),
        at,
        actor: "a".to_owned(),
        action: "late".to_owned(),
        object: "o".to_owned(),
        before: None,
        after: None,
    }
}

fn notification(at: Timestamp) -> NotificationRecord {
    NotificationRecord {
        id: NotificationId::generate(),
        at,
        channel: "mail".to_owned(),
        body: json!(null),
        attempts: 0,
        not_before: at,
        sent_at: None,
        given_up_at: None,
    }
}
