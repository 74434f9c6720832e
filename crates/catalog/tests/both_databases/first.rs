//! Vaults, VMs, recovery points, facts: what a machine without a service has.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::SignedDuration;
use tresor_catalog::{
    Catalog, CatalogErrorKind, Object, Page, PointFilter, PointRecord, VaultRecord, VerifiedChange,
    VmRecord,
};
use tresor_model::{
    Consistency, DiskStats, Fact, Firmware, HypervisorSource, MachineDefinition, PointId,
    SessionId, StreamName, VaultId, VmId,
};

use super::{kind, now};

pub(super) fn vault(name: &str) -> VaultRecord {
    VaultRecord {
        name: name.to_owned(),
        id: VaultId::generate(),
        location: "/srv/vault o'clock".to_owned(),
        settings: Some("{\"region\":\"eu\"}".to_owned()),
        key_source: "file:/etc/tresor/key".to_owned(),
        created_at: now(),
        verify_share: None,
    }
}

pub(super) async fn vaults(catalog: &Catalog) -> VaultRecord {
    let mut first = vault("main");
    catalog.add_vault(&first).await.expect("add");
    let taken = CatalogErrorKind::AlreadyExists(Object::Vault);
    assert_eq!(kind(catalog.add_vault(&vault("main")).await), taken);
    let same_id = VaultRecord {
        id: first.id,
        ..vault("other")
    };
    assert_eq!(kind(catalog.add_vault(&same_id).await), taken);
    catalog
        .set_key_source("main", "credential")
        .await
        .expect("set");
    first.key_source = "credential".to_owned();
    let settings = Some("{\"allow_http\":true}");
    catalog
        .set_vault_settings("main", settings)
        .await
        .expect("set");
    first.settings = settings.map(str::to_owned);
    let share = Some("0.25%".parse().expect("share"));
    catalog.set_verify_share("main", share).await.expect("set");
    first.verify_share = share;
    assert_eq!(catalog.vault("main").await.expect("vault"), first);
    catalog.set_verify_share("main", None).await.expect("set");
    first.verify_share = None;
    assert_eq!(catalog.vault("main").await.expect("vault"), first);
    let missing = CatalogErrorKind::NotFound(Object::Vault);
    assert_eq!(kind(catalog.vault("no").await), missing);
    assert_eq!(kind(catalog.set_key_source("no", "").await), missing);
    assert_eq!(kind(catalog.set_vault_settings("no", None).await), missing);
    assert_eq!(kind(catalog.set_verify_share("no", None).await), missing);
    let second = vault("alpha");
    catalog.add_vault(&second).await.expect("add");
    let all = catalog.vaults().await.expect("vaults");
    assert_eq!(all, [second, first.clone()]);
    first
}

/// More objects than one statement takes.
pub(super) async fn verified(catalog: &Catalog, vault: VaultId) {
    let names: Vec<String> = (0..450)
        .map(|number| format!("packs/o'{number:03}"))
        .collect();
    let (first, second) = (now(), now() + SignedDuration::from_secs(7));
    let change = VerifiedChange {
        new: &names[..440],
        verified: &names[430..450],
        gone: &[],
    };
    catalog
        .note_verified(vault, first, change)
        .await
        .expect("note");
    let other = VaultId::generate();
    catalog
        .note_verified(other, first, change)
        .await
        .expect("note");
    let change = VerifiedChange {
        new: &names[..2],
        verified: &names[..1],
        gone: &names[2..420],
    };
    catalog
        .note_verified(vault, second, change)
        .await
        .expect("note");
    let found = catalog.verified(vault).await.expect("verified");
    assert_eq!(found.len(), 32);
    assert_eq!(found[&names[0]], (first, Some(second)));
    assert_eq!(found[&names[1]], (first, None), "what was noted stays");
    assert_eq!(found[&names[425]], (first, None));
    assert_eq!(found[&names[449]], (first, Some(first)));
    assert_eq!(catalog.verified(other).await.expect("verified").len(), 450);
}

pub(super) async fn vms(catalog: &Catalog, vault: &VaultRecord) {
    let vm = |name: &str| VmRecord {
        retention: Some(tresor_policy::Rules {
            daily: 7,
            ..tresor_policy::Rules::default()
        }),
        name: name.to_owned(),
        id: VmId::generate(),
        qmp_socket: PathBuf::from("/run/web 01.qmp"),
        agent_socket: None,
        excluded_disks: vec![StreamName::new("scratch").expect("name")],
        included_disks: vec![StreamName::new("quorum").expect("name")],
        machine: None,
        host: None,
        vault: vault.name.clone(),
        created_at: now(),
    };
    let first = vm("web01");
    catalog.add_vm(&first).await.expect("add");
    let with_agent = VmRecord {
        agent_socket: Some("/run/qga".into()),
        excluded_disks: Vec::new(),
        ..vm("db01")
    };
    catalog.add_vm(&with_agent).await.expect("add");
    let taken = CatalogErrorKind::AlreadyExists(Object::Vm);
    assert_eq!(kind(catalog.add_vm(&vm("web01")).await), taken);
    let homeless = VmRecord {
        vault: "no".to_owned(),
        ..vm("homeless")
    };
    let no_vault = CatalogErrorKind::NotFound(Object::Vault);
    assert_eq!(kind(catalog.add_vm(&homeless).await), no_vault);
    assert_eq!(catalog.vm("web01").await.expect("vm"), first);
    assert_eq!(catalog.vms().await.expect("vms"), [with_agent, first]);
    let missing = CatalogErrorKind::NotFound(Object::Vm);
    assert_eq!(kind(catalog.vm("no").await), missing);
    renamed_and_moved(catalog).await;
    let seen = machine();
    catalog.set_vm_machine("web01", &seen).await.expect("set");
    let web = catalog.vm("web01").await.expect("vm");
    assert_eq!(web.machine, Some(seen.clone()));
    assert_eq!(kind(catalog.set_vm_machine("no", &seen).await), missing);
}

pub(super) fn machine() -> MachineDefinition {
    MachineDefinition {
        id: VmId::generate(),
        name: None,
        machine: "pc-q35-10.0".to_owned(),
        cpu_model: None,
        cpus: 1,
        memory: 1 << 30,
        firmware: Firmware::Bios { image: None },
        nics: Vec::new(),
        disks: Vec::new(),
        attachments: Vec::new(),
        source: HypervisorSource::Qemu {
            version: "10.0.2".to_owned(),
            command_line: Vec::new(),
        },
    }
}

async fn renamed_and_moved(catalog: &Catalog) {
    let taken = CatalogErrorKind::AlreadyExists(Object::Vm);
    let missing = CatalogErrorKind::NotFound(Object::Vm);
    assert_eq!(kind(catalog.rename_vm("web01", "db01").await), taken);
    assert_eq!(kind(catalog.rename_vm("no", "none").await), missing);
    catalog.rename_vm("web01", "shop01").await.expect("renamed");
    let mut vm = catalog.vm("shop01").await.expect("vm");
    vm.qmp_socket = "/run/new.qmp".into();
    vm.agent_socket = Some("/run/new.qga".into());
    vm.excluded_disks.clear();
    catalog.update_vm(&vm).await.expect("updated");
    assert_eq!(catalog.vm("shop01").await.expect("vm"), vm);
    vm.name = "no".to_owned();
    assert_eq!(kind(catalog.update_vm(&vm).await), missing);
    catalog.rename_vm("shop01", "web01").await.expect("renamed");
}

pub(super) async fn points(catalog: &Catalog, vault: VaultId) {
    let (web, db) = (VmId::generate(), VmId::generate());
    let at = now();
    let point = |vm, name: &str, age_s| PointRecord {
        copied_from: None,
        id: PointId::from(SessionId::generate()),
        vault,
        vm,
        vm_name: name.to_owned(),
        taken_at: at - SignedDuration::from_secs(age_s),
        committed_at: at,
        consistency: Consistency::FileSystem,
        size: 1 << 40,
        stored: 123,
        stats: BTreeMap::from([("vda".to_owned(), DiskStats::default())]),
    };
    let (old, new, other) = (
        point(web, "web01", 60),
        point(web, "web01", 0),
        point(db, "db", 0),
    );
    for each in [&old, &new, &other, &old] {
        catalog.upsert_point(each).await.expect("upsert");
    }
    let mut changed = old.clone();
    changed.stored = 7;
    catalog.upsert_point(&changed).await.expect("upsert");
    let of_web = PointFilter {
        vm: Some(web),
        vault: Some(vault),
        ..PointFilter::default()
    };
    let listed = catalog.points(&of_web).await.expect("points");
    assert_eq!(listed, [new.clone(), changed]);
    let all = catalog.points(&PointFilter::default()).await;
    let all = all.expect("points");
    let mut paged: Vec<PointRecord> = Vec::new();
    for _ in 0..all.len() {
        let after = paged.last().map(PointRecord::key);
        let page = Page { after, limit: 1 };
        let next = catalog.points_page(&PointFilter::default(), &page).await;
        paged.extend(next.expect("page"));
    }
    assert_eq!(paged, all, "the same points in the same order, one by one");
    let by_name = PointFilter {
        vm_name: Some("db".to_owned()),
        ..PointFilter::default()
    };
    assert_eq!(catalog.points(&by_name).await.expect("points"), [other]);
    catalog
        .replace_points(vault, std::slice::from_ref(&new))
        .await
        .expect("replace");
    let all = catalog.points(&PointFilter::default()).await;
    assert_eq!(all.expect("points"), vec![new.clone()]);
    assert_eq!(catalog.point(new.id).await.expect("point"), new);
    let missing = CatalogErrorKind::NotFound(Object::Point);
    assert_eq!(kind(catalog.point(old.id).await), missing);
}

pub(super) async fn facts(catalog: &Catalog) {
    let at = now();
    let later = at + SignedDuration::from_secs(1);
    let known = [
        Fact::present("agent.version", "10.0.2", "qmp", at),
        Fact::not_observed("disk.vda", "no answer", "qmp", at),
    ];
    catalog.record_facts("vm:1", &known).await.expect("record");
    let newer = Fact::absent("agent.version", "qmp", later);
    let facts = [newer.clone(), Fact::absent("disk.vda", "tresor", at)];
    catalog.record_facts("vm:1", &facts).await.expect("record");
    catalog
        .record_facts("vm:1", &known[..1])
        .await
        .expect("an old fact is no error");
    let [_, not_observed] = known;
    let [_, other] = facts;
    let seen = catalog.facts("vm:1").await.expect("facts");
    assert_eq!(seen, [newer, not_observed, other]);
    assert!(catalog.facts("vm:2").await.expect("facts").is_empty());
}

pub(super) async fn removal(catalog: &Catalog, vault: VaultId) {
    let in_use = CatalogErrorKind::InUse(Object::Vault);
    assert_eq!(kind(catalog.remove_vault("main").await), in_use);
    let points = catalog.points(&PointFilter::default()).await;
    assert_eq!(
        points.expect("points").len(),
        1,
        "a refusal changes nothing"
    );
    for name in ["web01", "db01"] {
        catalog.remove_vm(name).await.expect("remove");
    }
    let missing = CatalogErrorKind::NotFound(Object::Vm);
    assert_eq!(kind(catalog.remove_vm("web01").await), missing);
    catalog.remove_vault("main").await.expect("remove");
    let points = catalog.points(&PointFilter::default()).await;
    assert!(points.expect("points").is_empty());
    let verified = catalog.verified(vault).await;
    assert!(verified.expect("verified").is_empty());
}
