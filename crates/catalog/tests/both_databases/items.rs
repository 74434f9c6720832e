//! Protected items, and what the scheduler remembers of them.

use tresor_catalog::{
    Catalog, CatalogErrorKind, ItemFilter, ItemRecord, ItemState, Memory, Object, Page, RunEnd,
    VmRecord,
};
use tresor_model::VmId;

use super::{hosts::host, kind, now, policies::policy, registered_vm, seconds};

const MISSING: CatalogErrorKind = CatalogErrorKind::NotFound(Object::ProtectedItem);

pub(super) async fn check(catalog: &Catalog) {
    let vm = registered_vm(catalog, "item").await;
    for name in ["first", "second"] {
        let added = catalog.add_policy(&policy(name), now()).await;
        added.expect("add");
    }
    let item = are_protected_and_stopped(catalog, &vm).await;
    runs_are_remembered(catalog, item.clone()).await;
    another_policy_is_another_plan(catalog, vm.id).await;
    what_is_not_there_is_refused(catalog, vm.id).await;
    filters_and_pages(catalog, vm).await;
    for name in ["first", "second"] {
        catalog.remove_policy(name).await.expect("remove");
    }
}

async fn item(catalog: &Catalog, vm: VmId) -> ItemRecord {
    catalog.item(vm).await.expect("item")
}

async fn are_protected_and_stopped(catalog: &Catalog, vm: &VmRecord) -> ItemRecord {
    let begun = now();
    catalog
        .protect(vm.id, "first", begun)
        .await
        .expect("protect");
    let mut expected = ItemRecord {
        vm: vm.id,
        vm_name: vm.name.clone(),
        host: None,
        vault: vm.vault.clone(),
        policy: "first".to_owned(),
        state: ItemState::Protected,
        since: begun,
        gone_since: None,
        memory: Memory::default(),
    };
    assert_eq!(item(catalog, vm.id).await, expected);
    let in_use = CatalogErrorKind::InUse(Object::Vm);
    assert_eq!(kind(catalog.remove_vm(&vm.name).await), in_use);
    let (second, third) = (begun + seconds(1), begun + seconds(2));
    for at in [second, third] {
        catalog.stop_protection(vm.id, at).await.expect("stop");
    }
    (expected.state, expected.since) = (ItemState::StoppedKept, second);
    assert_eq!(item(catalog, vm.id).await, expected);
    for at in [third, begun + seconds(3)] {
        catalog.stop_and_delete(vm.id, at).await.expect("stop");
    }
    (expected.state, expected.since) = (ItemState::StoppedDeleted, third);
    assert_eq!(item(catalog, vm.id).await, expected);
    for at in [third, begun + seconds(3)] {
        catalog.resume_protection(vm.id, at).await.expect("resume");
    }
    (expected.state, expected.since) = (ItemState::Protected, third);
    assert_eq!(item(catalog, vm.id).await, expected);
    // Protecting a stopped one is resuming it.
    let fourth = begun + seconds(4);
    catalog.stop_protection(vm.id, third).await.expect("stop");
    catalog
        .protect(vm.id, "first", fourth)
        .await
        .expect("protect");
    expected.since = fourth;
    assert_eq!(item(catalog, vm.id).await, expected);
    expected
}

async fn runs_are_remembered(catalog: &Catalog, mut expected: ItemRecord) {
    let (vm, window) = (expected.vm, now());
    let at = |minutes: i64| window + seconds(60 * minutes);
    let finish = async |end| catalog.note_finished(vm, end).await.expect("finished");
    let start = async |window, at| {
        let started = catalog.note_started(vm, window, at).await;
        started.expect("started");
    };
    catalog.set_slot(vm, Some(3600)).await.expect("slot");
    let memory = &mut expected.memory;
    memory.slot_s = Some(3600);
    start(window, at(1)).await;
    (memory.attempt, memory.open_window) = (1, Some(window));
    memory.last_started_at = Some(at(1));
    assert_eq!(item(catalog, vm).await.memory, *memory);
    let not_before = at(10);
    finish(RunEnd::Retries { not_before }).await;
    memory.not_before = Some(not_before);
    assert_eq!(item(catalog, vm).await.memory, *memory);
    start(window, at(11)).await;
    (memory.attempt, memory.not_before) = (2, None);
    memory.last_started_at = Some(at(11));
    assert_eq!(item(catalog, vm).await.memory, *memory);
    finish(RunEnd::Succeeded {
        point_at: at(12),
        expected_s: 90,
        expected_bytes: 1 << 40,
    })
    .await;
    (memory.attempt, memory.open_window) = (0, None);
    memory.last_point_at = Some(at(12));
    (memory.expected_s, memory.expected_bytes) = (Some(90), Some(1 << 40));
    assert_eq!(item(catalog, vm).await.memory, *memory);

    // The next window is given up; the one behind it finds its protection stopped.
    start(at(60), at(61)).await;
    finish(RunEnd::GivenUp).await;
    memory.last_started_at = Some(at(61));
    assert_eq!(item(catalog, vm).await.memory, *memory);
    start(at(120), at(121)).await;
    catalog.stop_protection(vm, at(122)).await.expect("stop");
    finish(RunEnd::Retries { not_before }).await;
    let refused = catalog.note_started(vm, at(120), at(123)).await;
    let conflict = CatalogErrorKind::Conflict(Object::ProtectedItem);
    assert_eq!(kind(refused), conflict);
    memory.last_started_at = Some(at(121));
    assert_eq!(item(catalog, vm).await.memory, *memory);
    catalog.set_slot(vm, None).await.expect("slot");
    assert_eq!(item(catalog, vm).await.memory.slot_s, None);
    catalog
        .resume_protection(vm, at(124))
        .await
        .expect("resume");
}

async fn another_policy_is_another_plan(catalog: &Catalog, vm: VmId) {
    let (since, window) = (item(catalog, vm).await.since, now());
    catalog.set_slot(vm, Some(60)).await.expect("slot");
    let started = catalog.note_started(vm, window, window).await;
    started.expect("started");
    let retries = RunEnd::Retries { not_before: window };
    catalog.note_finished(vm, retries).await.expect("finished");
    let before = item(catalog, vm).await;
    catalog.protect(vm, "first", now()).await.expect("protect");
    assert_eq!(item(catalog, vm).await, before, "nothing has changed");
    catalog.protect(vm, "second", now()).await.expect("protect");
    let expected = ItemRecord {
        policy: "second".to_owned(),
        memory: Memory {
            slot_s: None,
            attempt: 0,
            not_before: None,
            open_window: None,
            ..before.memory.clone()
        },
        ..before
    };
    assert_eq!(
        (item(catalog, vm).await, since),
        (expected.clone(), expected.since)
    );
}

async fn what_is_not_there_is_refused(catalog: &Catalog, vm: VmId) {
    let nobody = VmId::generate();
    let no_vm = catalog.protect(nobody, "first", now()).await;
    assert_eq!(kind(no_vm), CatalogErrorKind::NotFound(Object::Vm));
    let no_policy = catalog.protect(vm, "no", now()).await;
    assert_eq!(kind(no_policy), CatalogErrorKind::NotFound(Object::Policy));
    assert_eq!(item(catalog, vm).await.policy, "second");
    assert_eq!(kind(catalog.item(nobody).await), MISSING);
    assert_eq!(kind(catalog.remove_item(nobody).await), MISSING);
    assert_eq!(kind(catalog.set_slot(nobody, None).await), MISSING);
    let stopped = catalog.stop_protection(nobody, now()).await;
    assert_eq!(kind(stopped), MISSING);
    let resumed = catalog.resume_protection(nobody, now()).await;
    assert_eq!(kind(resumed), MISSING);
    let started = catalog.note_started(nobody, now(), now()).await;
    assert_eq!(kind(started), MISSING);
    let finished = catalog.note_finished(nobody, RunEnd::GivenUp).await;
    assert_eq!(kind(finished), MISSING);
}

async fn filters_and_pages(catalog: &Catalog, local: VmRecord) {
    let node = host("node");
    catalog.add_host(&node).await.expect("add");
    let mut remote = registered_vm(catalog, "remote").await;
    remote.host = Some(node.id);
    catalog.update_vm(&remote).await.expect("update");
    catalog
        .protect(remote.id, "first", now())
        .await
        .expect("protect");
    catalog
        .stop_protection(remote.id, now())
        .await
        .expect("stop");
    assert_eq!(item(catalog, remote.id).await.host, Some(node.id));
    let none = ItemFilter::default;
    let with = |change: fn(&mut ItemFilter)| {
        let mut filter = none();
        change(&mut filter);
        filter
    };
    let on_node = ItemFilter {
        host: Some(Some(node.id)),
        ..none()
    };
    for (filter, expected) in [
        (none(), vec![local.id, remote.id]),
        (on_node, vec![remote.id]),
        (with(|filter| filter.host = Some(None)), vec![local.id]),
        (
            with(|filter| filter.policy = Some("first".into())),
            vec![remote.id],
        ),
        (
            with(|filter| filter.vault = Some("vault of item".into())),
            vec![local.id],
        ),
        (
            with(|filter| filter.state = Some(ItemState::Protected)),
            vec![local.id],
        ),
        (with(|filter| filter.policy = Some("no".into())), vec![]),
    ] {
        let items = catalog.items(&filter, &Page::default()).await;
        let found: Vec<_> = items.expect("items").iter().map(|item| item.vm).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let mut page = Page::first(1);
    for expected in [local.id, remote.id] {
        let items = catalog.items(&none(), &page).await.expect("items");
        let found: Vec<_> = items.iter().map(|item| item.vm).collect();
        assert_eq!(found, [expected]);
        page.after = Some(expected);
    }
    assert!(
        catalog
            .items(&none(), &page)
            .await
            .expect("items")
            .is_empty()
    );
    for vm in [local, remote] {
        catalog.remove_item(vm.id).await.expect("remove");
        catalog.remove_vm(&vm.name).await.expect("remove");
    }
    catalog.remove_host(node.id).await.expect("remove");
}
