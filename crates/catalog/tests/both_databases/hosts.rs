//! Hosts, and the VMs on them.

use serde_json::json;
use tresor_catalog::{Catalog, CatalogErrorKind, HostRecord, HostState, Object, Page, VmRecord};
use tresor_model::{HostId, VmId};
use tresor_problem::Problem;

use super::{kind, now, registered_vm, seconds};

const MISSING: CatalogErrorKind = CatalogErrorKind::NotFound(Object::Host);

pub(super) fn host(name: &str) -> HostRecord {
    HostRecord {
        id: HostId::generate(),
        name: name.to_owned(),
        state: HostState::Enrolled,
        serial: None,
        enrolled_at: now(),
        last_seen: None,
        version: None,
        capabilities: json!({}),
    }
}

pub(super) async fn check(catalog: &Catalog) {
    come_and_change(catalog).await;
    are_listed_by_name(catalog).await;
    stay_while_a_vm_is_on_them(catalog).await;
}

async fn come_and_change(catalog: &Catalog) {
    let mut first = host("node1");
    catalog.add_host(&first).await.expect("add");
    let taken = CatalogErrorKind::AlreadyExists(Object::Host);
    assert_eq!(kind(catalog.add_host(&host("node1")).await), taken);
    let same_id = HostRecord {
        id: first.id,
        ..host("node2")
    };
    assert_eq!(kind(catalog.add_host(&same_id).await), taken);
    assert_eq!(catalog.host(first.id).await.expect("host"), first);

    let (seen, said) = (now(), json!({"kvm": true, "text": "it's"}));
    let touched = catalog.touch_host(first.id, seen, "1.2.3", &said).await;
    touched.expect("touch");
    first.last_seen = Some(seen);
    first.version = Some("1.2.3".to_owned());
    first.capabilities = said;
    assert_eq!(catalog.host(first.id).await.expect("host"), first);
    let earlier = seen - seconds(1);
    let late = catalog.touch_host(first.id, earlier, "1.2.2", &json!(null));
    late.await.expect("an old sign of life is no error");
    catalog
        .set_host_serial(first.id, "0a1b")
        .await
        .expect("set");
    first.serial = Some("0a1b".to_owned());
    assert_eq!(catalog.host_by_name("node1").await.expect("host"), first);
    for _ in 0..2 {
        catalog.revoke_host(first.id).await.expect("revoke");
    }
    first.state = HostState::Revoked;
    assert_eq!(catalog.host(first.id).await.expect("host"), first);

    let nobody = HostId::generate();
    assert_eq!(kind(catalog.host(nobody).await), MISSING);
    assert_eq!(kind(catalog.host_by_name("no").await), MISSING);
    assert_eq!(kind(catalog.revoke_host(nobody).await), MISSING);
    assert_eq!(kind(catalog.set_host_serial(nobody, "").await), MISSING);
    let touched = catalog.touch_host(nobody, seen, "", &json!(null)).await;
    assert_eq!(kind(touched), MISSING);
    let removed = catalog.remove_host(nobody).await.expect_err("nobody");
    assert!(Problem::from(&removed).is("ObjectNotFound"));
    catalog.remove_host(first.id).await.expect("remove");
    assert_eq!(kind(catalog.host(first.id).await), MISSING);
}

async fn are_listed_by_name(catalog: &Catalog) {
    for name in ["c", "a", "d", "b"] {
        catalog.add_host(&host(name)).await.expect("add");
    }
    let mut page = Page::first(3);
    let mut pages = Vec::new();
    loop {
        let hosts = catalog.hosts(&page).await.expect("hosts");
        let names: Vec<_> = hosts.into_iter().map(|host| host.name).collect();
        let Some(last) = names.last().cloned() else {
            break;
        };
        page.after = Some(last);
        pages.push(names.join(""));
    }
    assert_eq!(pages, ["abc", "d"]);
    for host in catalog.hosts(&Page::default()).await.expect("hosts") {
        catalog.remove_host(host.id).await.expect("remove");
    }
}

async fn stay_while_a_vm_is_on_them(catalog: &Catalog) {
    let (node, other) = (host("node"), host("other"));
    for each in [&node, &other] {
        catalog.add_host(each).await.expect("add");
    }
    let mut vm = registered_vm(catalog, "hosted").await;
    vm.host = Some(node.id);
    catalog.update_vm(&vm).await.expect("update");
    assert_eq!(catalog.vm_by_id(vm.id).await.expect("vm"), vm);
    let in_use = CatalogErrorKind::InUse(Object::Host);
    assert_eq!(kind(catalog.remove_host(node.id).await), in_use);
    assert_eq!(catalog.host(node.id).await.expect("host"), node);

    // It moves, and a host that is none is refused.
    vm.host = Some(other.id);
    catalog.update_vm(&vm).await.expect("update");
    catalog.remove_host(node.id).await.expect("remove");
    let nowhere = VmRecord {
        host: Some(node.id),
        ..vm.clone()
    };
    assert_eq!(kind(catalog.update_vm(&nowhere).await), MISSING);
    let new = VmRecord {
        id: VmId::generate(),
        name: "nowhere".to_owned(),
        ..nowhere.clone()
    };
    assert_eq!(kind(catalog.add_vm(&new).await), MISSING);
    let no_vault = VmRecord {
        vault: "no".to_owned(),
        ..new.clone()
    };
    let missing = CatalogErrorKind::NotFound(Object::Vault);
    assert_eq!(kind(catalog.add_vm(&no_vault).await), missing);
    let there = VmRecord {
        host: Some(other.id),
        ..new
    };
    catalog.add_vm(&there).await.expect("add");
    assert_eq!(catalog.vm("nowhere").await.expect("vm"), there);
    let unknown = catalog.vm_by_id(VmId::generate()).await;
    assert_eq!(kind(unknown), CatalogErrorKind::NotFound(Object::Vm));
    for name in ["hosted", "nowhere"] {
        catalog.remove_vm(name).await.expect("remove");
    }
    catalog.remove_host(other.id).await.expect("remove");
}
