//! The registry and the reports of a host, as the catalog has them then.

use std::num::NonZeroU64;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use tresor_catalog::{Datasource, DatasourceFilter, PointFilter};
use tresor_host::Registry as _;
use tresor_host_link::{RemoteRegistry, Reports, Vaults};
use tresor_model::{MachineDefinition, RecoveryPoint, VmId};
use tresor_problem::{Kind, Problem};
use tresor_vault::Vault;

use crate::pair::{Service, patient};

/// A host that has no vault.
struct NoVault;

#[async_trait]
impl Vaults for NoVault {
    async fn open(&self, name: &str, _: Option<NonZeroU64>) -> Result<Vault, Problem> {
        let location = name.to_owned();
        Err(Kind::VaultNotFound { location }.into())
    }
}

pub(crate) fn machine() -> MachineDefinition {
    let golden = include_bytes!("../../../../fuzz/seeds/machine-json/golden");
    serde_json::from_slice(golden).unwrap()
}

pub(crate) fn point(vm: VmId) -> RecoveryPoint {
    let golden = include_bytes!("../../../../fuzz/seeds/point-json/golden");
    let golden: RecoveryPoint = serde_json::from_slice(golden).unwrap();
    RecoveryPoint { vm, ..golden }
}

pub(crate) fn found(name: &str, vm: VmId, socket: &str) -> Datasource {
    Datasource {
        vm,
        name: name.to_owned(),
        qmp_socket: socket.into(),
        agent_socket: None,
        machine: Some(machine()),
        state: "running".to_owned(),
        problem: None,
    }
}

async fn registry(service: &Service, host: tresor_model::HostId) -> RemoteRegistry {
    RemoteRegistry::new(
        service.connections(host).await,
        patient(),
        Arc::new(NoVault),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_reads_and_notes_what_is_its_own() {
    for service in [Service::new().await, Service::new().await.cutting()] {
        let host = service.enrol().await;
        let registry = registry(&service, host).await;
        let vm = service.vm("web01", Some(host)).await;
        assert_eq!(registry.vm(vm.id).await.unwrap(), vm);
        registry.note_machine("web01", &machine()).await.unwrap();
        let noted = registry.vm(vm.id).await.unwrap();
        assert_eq!(noted.machine, Some(machine()));
        let vault = service.catalog.vault("main").await.unwrap().id;
        let point = point(vm.id);
        for _ in 0..2 {
            registry.note_point(vault, &point).await.unwrap();
        }
        let points = service
            .catalog
            .points(&PointFilter::default())
            .await
            .unwrap();
        assert_eq!(points.len(), 1);
        assert_eq!((points[0].id, points[0].vault), (point.id, vault));
        let vault = registry.vault("main", None).await.err();
        assert!(vault.is_some_and(|problem| problem.is("VaultNotFound")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_on_a_host_is_in_the_catalog() {
    for service in [Service::new().await, Service::new().await.cutting()] {
        let host = service.enrol().await;
        let reports = Reports::new(service.connections(host).await, patient());
        let before = tresor_catalog::HostRecord {
            last_seen: None,
            ..service.catalog.host(host).await.unwrap()
        };
        let can = json!({"restore": false});
        let now = reports.alive("0.2.0", &can).await.unwrap();
        let seen = service.catalog.host(host).await.unwrap();
        assert_eq!(seen.version.as_deref(), Some("0.2.0"));
        assert_eq!(seen.capabilities, can);
        assert!(seen.last_seen.is_some_and(|seen| seen <= now));
        assert_eq!(seen.enrolled_at, before.enrolled_at);

        let registered = service.vm("db01", Some(host)).await;
        let others = service.vm("db02", None).await;
        let known = reports.known().await.unwrap();
        let known: Vec<_> = known.iter().map(|known| known.vm).collect();
        assert_eq!(known, [registered.id]);
        let web = VmId::from_uuid(uuid::Uuid::new_v4());
        let report = [
            found("web01", web, "/run/web"),
            // It answers behind another socket now.
            found("db01", registered.id, "/run/db"),
            // And so does one that is another machine's: that one is not moved.
            found("db02", others.id, "/run/stolen"),
        ];
        reports.report(&report).await.unwrap();
        let here = DatasourceFilter {
            host: Some(Some(host)),
            ..DatasourceFilter::default()
        };
        let listed = service.catalog.all_datasources(&here).await.unwrap();
        let mut listed: Vec<_> = listed.into_iter().map(|found| found.seen).collect();
        listed.sort_by_key(|found| found.name.clone());
        assert_eq!(
            listed,
            [report[1].clone(), report[2].clone(), report[0].clone()]
        );
        let moved = service.catalog.vm("db01").await.unwrap();
        assert_eq!(moved.qmp_socket.to_str(), Some("/run/db"));
        let there = service.catalog.vm("db02").await.unwrap();
        assert_eq!(there, others);
        // What is not named any more is gone; what is known is what is there, and what is registered.
        reports.report(&report[..1]).await.unwrap();
        let known = reports.known().await.unwrap();
        let mut known: Vec<_> = known.into_iter().map(|known| known.name).collect();
        known.sort();
        assert_eq!(known, ["db01", "web01"]);
        let gone = service.catalog.datasource((others.id, Some(host))).await;
        assert!(gone.unwrap().gone_since.is_some());
    }
}

/// More than a page and, with what they are, more than a report.
#[tokio::test(flavor = "multi_thread")]
async fn many_vms_are_told_in_pages() {
    let service = Service::new().await;
    let host = service.enrol().await;
    let reports = Reports::new(service.connections(host).await, patient());
    let mut large = machine();
    large.name = Some("m".repeat(9000));
    let many: Vec<_> = (0..1000)
        .map(|nth| {
            let vm = VmId::from_uuid(uuid::Uuid::from_u128(1000 + nth));
            Datasource {
                machine: Some(large.clone()),
                ..found(&nth.to_string(), vm, "/run/qmp")
            }
        })
        .collect();
    reports.report(&many[..500]).await.unwrap();
    reports.report(&many).await.unwrap();
    let known = reports.known().await.unwrap();
    assert_eq!(known.len(), 1000);
    let with_machine = known.iter().filter(|known| known.machine.is_some());
    // What was told before is still noted.
    assert_eq!(with_machine.count(), 500);
    assert_eq!(known[..500], many[..500]);
}
