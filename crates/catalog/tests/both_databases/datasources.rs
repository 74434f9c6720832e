//! What hosts find.

use jiff::Timestamp;
use tresor_catalog::{
    Catalog, CatalogErrorKind, Datasource, DatasourceFilter, DatasourceKey, DatasourceRecord,
    Object, Page,
};
use tresor_model::{HostId, VmId};
use tresor_policy::Policy;
use tresor_problem::{Kind, Problem};

use super::{first::machine, hosts::host, kind, now, registered_vm, seconds};

fn found(name: &str) -> Datasource {
    Datasource {
        vm: VmId::generate(),
        name: name.to_owned(),
        qmp_socket: "/run/it's.qmp".into(),
        agent_socket: Some("/run/qga".into()),
        machine: Some(machine()),
        state: "running".to_owned(),
        problem: None,
    }
}

fn unreachable() -> Problem {
    Problem::from(Kind::VmUnreachable {
        vm: "b".to_owned(),
        socket: "/run/b".to_owned(),
        reason: "no answer".to_owned(),
    })
}

pub(super) async fn check(catalog: &Catalog) {
    let (one, two) = (host("one"), host("two"));
    for each in [&one, &two] {
        catalog.add_host(each).await.expect("add");
    }
    a_report_tells_all(catalog, one.id, two.id).await;
    filters_and_pages(catalog, one.id).await;
    let nobody = HostId::generate();
    let refused = catalog.report(Some(nobody), &[found("x")], now()).await;
    assert_eq!(kind(refused), CatalogErrorKind::NotFound(Object::Host));
    let nothing = catalog.datasource((VmId::generate(), None)).await;
    let missing = CatalogErrorKind::NotFound(Object::Datasource);
    assert_eq!(kind(nothing), missing);
    for each in [one, two] {
        catalog.remove_host(each.id).await.expect("remove");
    }
    let left = all(catalog).await;
    assert!(left.iter().all(|each| each.host.is_none()), "{left:?}");
}

async fn all(catalog: &Catalog) -> Vec<DatasourceRecord> {
    let (filter, page) = (DatasourceFilter::default(), Page::default());
    catalog.datasources(&filter, &page).await.expect("list")
}

async fn a_report_tells_all(catalog: &Catalog, one: HostId, two: HostId) {
    let (a, mut b, local) = (found("a"), found("b"), found("local"));
    let first = now();
    let both = [a.clone(), b.clone()];
    catalog.report(Some(one), &both, first).await.expect("one");
    catalog
        .report(Some(two), std::slice::from_ref(&a), first)
        .await
        .expect("two");
    let here = [local.clone()];
    catalog.report(None, &here, first).await.expect("here");
    let of = |seen: &Datasource, host, last: Timestamp| DatasourceRecord {
        host,
        seen: seen.clone(),
        first_seen: first,
        last_seen: last,
        gone_since: None,
        protected: false,
    };
    let mut expected = vec![
        of(&a, Some(one), first),
        of(&b, Some(one), first),
        of(&a, Some(two), first),
        of(&local, None, first),
    ];
    let key = |each: &DatasourceRecord| (each.seen.vm, each.host.map(|host| host.to_string()));
    expected.sort_by_key(key);
    assert_eq!(all(catalog).await, expected);

    // `a` is gone from the one, `b` cannot be looked at; the clock was set back meanwhile.
    let second = first - seconds(60);
    let known = b.machine.take();
    (b.state, b.problem) = ("paused".to_owned(), Some(unreachable()));
    let report = [b.clone()];
    catalog
        .report(Some(one), &report, second)
        .await
        .expect("one");
    b.machine = known;
    let gone = catalog.datasource((a.vm, Some(one))).await.expect("a");
    assert_eq!((gone.gone_since, gone.last_seen), (Some(second), first));
    let seen = catalog.datasource((b.vm, Some(one))).await.expect("b");
    assert_eq!(seen, of(&b, Some(one), second));
    for other in [of(&a, Some(two), first), of(&local, None, first)] {
        let found = catalog.datasource(other.key()).await.expect("other");
        assert_eq!(found, other, "of that host only");
    }
    // It stays gone since then, and comes back.
    let third = first + seconds(60);
    catalog.report(Some(one), &[], third).await.expect("one");
    let gone = catalog.datasource((a.vm, Some(one))).await.expect("a");
    assert_eq!(gone.gone_since, Some(second));
    catalog.report(Some(one), &both, third).await.expect("one");
    let back = catalog.datasource((a.vm, Some(one))).await.expect("a");
    assert_eq!(back, of(&a, Some(one), third));
}

async fn filters_and_pages(catalog: &Catalog, one: HostId) {
    let vm = registered_vm(catalog, "found").await;
    let policy = Policy {
        name: "found".to_owned(),
        ..Policy::nightly()
    };
    catalog.add_policy(&policy, now()).await.expect("add");
    catalog
        .protect(vm.id, "found", now())
        .await
        .expect("protect");
    let protected = Datasource {
        vm: vm.id,
        ..found("found")
    };
    let (new, old) = (found("new"), found("old"));
    catalog
        .report(Some(one), std::slice::from_ref(&old), now())
        .await
        .expect("report");
    let report = [protected.clone(), new.clone()];
    catalog
        .report(Some(one), &report, now())
        .await
        .expect("report");

    let on_it = DatasourceFilter {
        host: Some(Some(one)),
        ..DatasourceFilter::default()
    };
    let is = |protected, gone| DatasourceFilter {
        protected,
        gone,
        ..on_it
    };
    let here = DatasourceFilter {
        host: Some(None),
        ..DatasourceFilter::default()
    };
    let of_vm = DatasourceFilter {
        vm: Some(protected.vm),
        ..DatasourceFilter::default()
    };
    for (filter, names) in [
        (is(Some(true), None), vec!["found"]),
        (is(Some(false), Some(false)), vec!["new"]),
        (is(None, Some(false)), vec!["found", "new"]),
        (is(None, Some(true)), vec!["a", "b", "old"]),
        (on_it, vec!["a", "b", "found", "new", "old"]),
        (of_vm, vec!["found"]),
        (here, vec!["local"]),
    ] {
        let list = catalog.datasources(&filter, &Page::default()).await;
        let list = list.expect("list");
        let mut found: Vec<_> = list.iter().map(|each| each.seen.name.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, names, "{filter:?}");
    }
    let mut paged = Vec::new();
    let mut page = Page::<DatasourceKey>::first(2);
    loop {
        let some = catalog
            .datasources(&DatasourceFilter::default(), &page)
            .await;
        let some = some.expect("page");
        assert!(some.len() <= 2);
        let Some(last) = some.last() else { break };
        page.after = Some(last.key());
        paged.extend(some);
    }
    assert_eq!(paged, all(catalog).await);
    catalog.remove_item(vm.id).await.expect("remove");
    catalog.remove_policy("found").await.expect("remove");
    catalog.remove_vm("found").await.expect("remove");
}
