//! Alerts and the audit log.

use futures::future::join_all;
use serde_json::{Value, json};
use tresor_catalog::{
    AlertFilter, AlertRecord, AuditFilter, AuditRecord, Catalog, CatalogErrorKind, Object, Page,
};
use tresor_model::{AlertId, AuditId};
use tresor_problem::{Kind, Problem};

use super::{kind, now, seconds};

pub(super) async fn check(one: &Catalog, two: &Catalog) {
    alerts(one).await;
    one_alert_for_a_problem(one, two).await;
    audit(one).await;
}

fn gone(vm: &str) -> Problem {
    Problem::from(Kind::VmNotFound { vm: vm.to_owned() })
}

fn full() -> Problem {
    Problem::from(Kind::VaultStorageFull {
        location: "/srv/it's full".to_owned(),
        object: "packs/1".to_owned(),
    })
}

async fn listed(catalog: &Catalog, subject: Option<&str>, open: bool) -> Vec<AlertRecord> {
    let filter = AlertFilter {
        subject: subject.map(str::to_owned),
        open,
    };
    let page = Page::default();
    catalog.alerts(&filter, &page).await.expect("alerts")
}

async fn alerts(catalog: &Catalog) {
    let at = now();
    let raise = async |subject: &str, problem: &Problem, at| {
        let raised = catalog.raise(subject, problem, at).await;
        raised.expect("raise")
    };
    let first = raise("vm:1", &gone("1"), at).await;
    let expected = AlertRecord {
        id: first.id,
        subject: "vm:1".to_owned(),
        problem: gone("1"),
        since: at,
        last_seen_at: at,
        count: 1,
        resolved_at: None,
    };
    assert_eq!(first, expected);
    let again = raise("vm:1", &gone("renamed"), at + seconds(9)).await;
    let mut expected = AlertRecord {
        problem: gone("renamed"),
        last_seen_at: at + seconds(9),
        count: 2,
        ..expected
    };
    assert_eq!(again, expected);
    let other_problem = raise("vm:1", &full(), at).await;
    let other_subject = raise("vm:2", &gone("2"), at).await;
    assert_eq!((other_problem.count, other_subject.count), (1, 1));

    let over = at + seconds(10);
    let resolved = catalog.resolve("vm:1", Some("VmNotFound"), over).await;
    expected.resolved_at = Some(over);
    assert_eq!(resolved.expect("resolve"), [expected.clone()]);
    let resolved = catalog.resolve("vm:1", Some("VmNotFound"), over).await;
    assert_eq!(resolved.expect("resolve"), [], "it is over already");
    let open = [other_subject.clone(), other_problem.clone()];
    assert_eq!(listed(catalog, None, true).await, open);
    // What comes again after that is a new one.
    let anew = raise("vm:1", &gone("1"), over).await;
    assert!(anew.id != first.id && anew.count == 1);
    let of_one = [anew.clone(), other_problem.clone(), expected];
    assert_eq!(listed(catalog, Some("vm:1"), false).await, of_one);
    let resolved = catalog.resolve("vm:1", None, over).await.expect("resolve");
    assert_eq!(resolved.len(), 2);
    assert_eq!(listed(catalog, None, true).await, [other_subject]);

    let mut page = Page::<AlertId>::first(3);
    let all = AlertFilter::default();
    let newest = catalog.alerts(&all, &page).await.expect("alerts");
    page.after = newest.last().map(|alert| alert.id);
    let oldest = catalog.alerts(&all, &page).await.expect("alerts");
    let ids: Vec<_> = newest.iter().chain(&oldest).map(|each| each.id).collect();
    assert_eq!((newest.len(), oldest.len(), ids[3]), (3, 1, first.id));
}

async fn one_alert_for_a_problem(one: &Catalog, two: &Catalog) {
    let raising = (0..8).map(|number| {
        let catalog = if number % 2 == 0 { one } else { two };
        async move {
            catalog
                .raise("race", &full(), now())
                .await
                .expect("raise")
                .count
        }
    });
    let mut counts = join_all(raising).await;
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(listed(one, Some("race"), true).await.len(), 1);
}

fn entry(actor: &str, object: &str, before: Option<Value>) -> AuditRecord {
    AuditRecord {
        id: AuditId::generate(),
        at: now(),
        actor: actor.to_owned(),
        action: "policy.update".to_owned(),
        object: object.to_owned(),
        before,
        after: Some(json!({"text": "it's\u{0} 'quoted'"})),
    }
}

async fn audit(catalog: &Catalog) {
    let entries = [
        entry("token:ci", "policy:gold", None),
        entry("token:ci", "policy:silver", Some(json!([1, null]))),
        entry("user:root", "policy:gold", Some(json!({"a": 1}))),
    ];
    for each in &entries {
        catalog.append_audit(each).await.expect("append");
    }
    let known = catalog.append_audit(&entries[0]).await;
    let taken = CatalogErrorKind::AlreadyExists(Object::AuditEntry);
    assert_eq!(kind(known), taken, "it is never written over");
    let list = async |actor: Option<&str>, object: Option<&str>, after, limit| {
        let filter = AuditFilter {
            actor: actor.map(str::to_owned),
            object: object.map(str::to_owned),
        };
        let page = Page { after, limit };
        catalog.audit(&filter, &page).await.expect("audit")
    };
    let [first, second, third] = entries;
    let all = [third.clone(), second.clone(), first.clone()];
    assert_eq!(list(None, None, None, 10).await, all);
    let next = list(None, None, Some(third.id), 1).await;
    assert_eq!(next, std::slice::from_ref(&second));
    assert_eq!(list(None, None, Some(first.id), 1).await, []);
    let by_ci = [second, first.clone()];
    assert_eq!(list(Some("token:ci"), None, None, 10).await, by_ci);
    let of_gold = [third, first];
    assert_eq!(list(None, Some("policy:gold"), None, 10).await, of_gold);
}
