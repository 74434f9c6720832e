//! Policies and their revisions.

use tresor_catalog::{Catalog, CatalogErrorKind, Object, Page, PolicyRecord};
use tresor_policy::Policy;
use tresor_problem::Problem;

use super::{kind, now, registered_vm, seconds};

pub(super) fn policy(name: &str) -> Policy {
    Policy {
        name: name.to_owned(),
        ..Policy::hourly()
    }
}

pub(super) async fn check(one: &Catalog, two: &Catalog) {
    come_and_go(one).await;
    one_change_at_a_time(one, two).await;
    stay_while_an_item_has_them(one).await;
}

async fn come_and_go(catalog: &Catalog) {
    let made = now();
    let mut expected = PolicyRecord {
        policy: policy("silver"),
        revision: 1,
        created_at: made,
        updated_at: made,
    };
    let added = catalog.add_policy(&expected.policy, made).await;
    assert_eq!(added.expect("add"), expected);
    let again = catalog.add_policy(&policy("silver"), made).await;
    let again = again.expect_err("the name is taken");
    assert_eq!(again.kind, CatalogErrorKind::AlreadyExists(Object::Policy));
    assert!(Problem::from(&again).is("ObjectExists"));
    for name in ["gold", "bronze"] {
        let added = catalog.add_policy(&policy(name), made).await;
        added.expect("add");
    }
    let page = |after: Option<&str>| Page {
        after: after.map(str::to_owned),
        limit: 2,
    };
    let names = async |page| {
        let policies = catalog.policies(&page).await.expect("policies");
        let names = policies.into_iter().map(|each| each.policy.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(page(None)).await, ["bronze", "gold"]);
    assert_eq!(names(page(Some("gold"))).await, ["silver"]);

    expected.policy.automatic_remedies = false;
    (expected.revision, expected.updated_at) = (2, made + seconds(5));
    let at = expected.updated_at;
    let updated = catalog.update_policy(&expected.policy, 1, at).await;
    assert_eq!(updated.expect("update"), 2);
    let stale = catalog.update_policy(&policy("silver"), 1, now()).await;
    let stale = stale.expect_err("the revision is old");
    assert_eq!(stale.kind, CatalogErrorKind::Conflict(Object::Policy));
    assert!(Problem::from(&stale).is("ObjectChanged"));
    assert_eq!(catalog.policy("silver").await.expect("policy"), expected);
    let missing = CatalogErrorKind::NotFound(Object::Policy);
    assert_eq!(kind(catalog.policy("no").await), missing);
    let updated = catalog.update_policy(&policy("no"), 1, now()).await;
    assert_eq!(kind(updated), missing);
    for name in ["gold", "silver", "bronze"] {
        catalog.remove_policy(name).await.expect("remove");
    }
    assert_eq!(kind(catalog.remove_policy("gold").await), missing);
}

async fn one_change_at_a_time(one: &Catalog, two: &Catalog) {
    one.add_policy(&policy("raced"), now()).await.expect("add");
    for revision in 1..20 {
        let (same, mut changed) = (policy("raced"), policy("raced"));
        changed.retry.tries = 2;
        let (first, second) = tokio::join!(
            one.update_policy(&same, revision, now()),
            two.update_policy(&changed, revision, now()),
        );
        let lost = match (first, second) {
            (Ok(new), lost) | (lost, Ok(new)) => {
                assert_eq!(new, revision + 1);
                lost
            }
            neither => panic!("{neither:?}"),
        };
        assert_eq!(kind(lost), CatalogErrorKind::Conflict(Object::Policy));
    }
    assert_eq!(one.policy("raced").await.expect("policy").revision, 20);
    one.remove_policy("raced").await.expect("remove");
}

async fn stay_while_an_item_has_them(catalog: &Catalog) {
    let vm = registered_vm(catalog, "covered").await;
    catalog
        .add_policy(&policy("used"), now())
        .await
        .expect("add");
    catalog
        .protect(vm.id, "used", now())
        .await
        .expect("protect");
    catalog.stop_protection(vm.id, now()).await.expect("stop");
    let refused = catalog.remove_policy("used").await.expect_err("in use");
    assert_eq!(refused.kind, CatalogErrorKind::InUse(Object::Policy));
    assert!(Problem::from(&refused).is("ObjectInUse"));
    catalog.remove_item(vm.id).await.expect("remove");
    catalog.remove_policy("used").await.expect("remove");
    catalog.remove_vm("covered").await.expect("remove");
}
