//! The loop that looks for VMs of this machine.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tresor_catalog::{Catalog, CatalogError, Datasource, DatasourceFilter, VmRecord};
use tresor_host::{Discovery, StateDir, embedded};
use tresor_model::HostId;

use crate::ServiceOptions;

/// This machine, in the catalog's words.
type Here = Option<HostId>;

const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Looks until it is told to stop, and keeps what it finds.
pub(crate) async fn run(
    catalog: Arc<Catalog>,
    state: StateDir,
    options: ServiceOptions,
    stop: CancellationToken,
) {
    let host = options.host;
    let known = match known(&catalog, host).await {
        Ok(known) => known,
        Err(error) => {
            tracing::warn!(%error, "what was found before cannot be read");
            Vec::new()
        }
    };
    let mut discovery = Discovery::new(state, options.discover, known);
    loop {
        let found = discovery.look().await;
        if let Err(error) = keep(&catalog, host, &found).await {
            tracing::warn!(%error, "what was found cannot be kept");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// What was found here before, and what is registered here.
async fn known(catalog: &Catalog, host: Here) -> Result<Vec<Datasource>, CatalogError> {
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
async fn keep(catalog: &Catalog, host: Here, found: &[Datasource]) -> Result<(), CatalogError> {
    let now = Timestamp::now();
    if let Some(host) = host {
        let version = env!("CARGO_PKG_VERSION");
        catalog.touch_host(host, now, version, &embedded()).await?;
    }
    catalog.report(host, found, now).await?;
    for vm in catalog.vms().await? {
        let seen = found.iter().find(|seen| seen.vm == vm.id);
        let Some(seen) = seen.filter(|seen| moved(&vm, host, seen)) else {
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

/// A VM of this machine that runs behind another socket than the registered one.
fn moved(vm: &VmRecord, host: Here, seen: &Datasource) -> bool {
    vm.host == host
        && seen.problem.is_none()
        && seen.state == "running"
        && seen.qmp_socket != vm.qmp_socket
}
