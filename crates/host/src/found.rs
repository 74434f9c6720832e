//! What was found on a host, in the catalog. The same for this machine and for hosts that report.

use jiff::Timestamp;
use tresor_catalog::{Catalog, CatalogError, Datasource, DatasourceFilter, VmRecord};
use tresor_model::HostId;

/// What was found on a host before, and what is registered there; `None`: this machine.
///
/// # Errors
/// What the catalog says.
pub async fn known_on(
    catalog: &Catalog,
    host: Option<HostId>,
) -> Result<Vec<Datasource>, CatalogError> {
    let filter = DatasourceFilter {
        host: Some(host),
        gone: Some(false),
        ..DatasourceFilter::default()
    };
    let found = catalog.all_datasources(&filter).await?.into_iter();
    let mut known: Vec<_> = found.map(|record| record.seen).collect();
    let registered = catalog.vms().await?.into_iter();
    known.extend(registered.filter(|vm| vm.host == host).map(registered_as));
    Ok(known)
}

fn registered_as(vm: VmRecord) -> Datasource {
    Datasource {
        vm: vm.id,
        name: vm.name,
        qmp_socket: vm.qmp_socket,
        agent_socket: vm.agent_socket,
        machine: vm.machine,
        state: "stopped".to_owned(),
        problem: None,
    }
}

/// Keeps what was found; a registered VM that answers elsewhere now is found there from now on.
///
/// # Errors
/// What the catalog says.
pub async fn keep_found(
    catalog: &Catalog,
    host: Option<HostId>,
    found: &[Datasource],
) -> Result<(), CatalogError> {
    catalog.report(host, found, Timestamp::now()).await?;
    let registered = catalog.vms().await?.into_iter();
    for vm in registered.filter(|vm| vm.host == host) {
        let seen = found.iter().find(|seen| seen.vm == vm.id);
        let Some(seen) = seen.filter(|seen| moved(&vm, seen)) else {
            continue;
        };
        tracing::info!(vm = vm.name, socket = %seen.qmp_socket.display(), "the VM answers elsewhere now");
        let moved = VmRecord {
            qmp_socket: seen.qmp_socket.clone(),
            agent_socket: seen
                .agent_socket
                .clone()
                .or_else(|| vm.agent_socket.clone()),
            ..vm
        };
        catalog.update_vm(&moved).await?;
    }
    Ok(())
}

/// A registered VM that runs behind another socket than the registered one.
fn moved(vm: &VmRecord, seen: &Datasource) -> bool {
    seen.problem.is_none() && seen.state == "running" && seen.qmp_socket != vm.qmp_socket
}
