//! A VM that was found, and is protected before anybody has registered it.

use jiff::Timestamp;
use tresor_api_types::Protect;
use tresor_catalog::{CatalogErrorKind, DatasourceFilter, DatasourceRecord, VmRecord};
use tresor_model::VmId;
use tresor_problem::Kind;

use crate::{
    ApiState,
    failure::{Answer, Failure},
};

/// Registers a VM that was found, if nobody has; one that is registered stays as it is.
pub(super) async fn register(state: &ApiState, vm: VmId, asked: &Protect) -> Answer<()> {
    match state.catalog.vm_by_id(vm).await {
        Ok(_) => return Ok(()),
        Err(error) if matches!(error.kind, CatalogErrorKind::NotFound(_)) => {}
        Err(error) => return Err(error.into()),
    }
    // Nothing is registered for a policy that there is not.
    state.catalog.policy(&asked.policy).await?;
    let found = found(state, vm).await?;
    let seen = found.seen;
    let record = VmRecord {
        name: asked.name.clone().unwrap_or(seen.name),
        id: vm,
        qmp_socket: seen.qmp_socket,
        agent_socket: seen.agent_socket,
        excluded_disks: Vec::new(),
        included_disks: Vec::new(),
        machine: seen.machine,
        host: found.host,
        vault: vault(state, asked.vault.as_deref()).await?,
        retention: None,
        created_at: Timestamp::now(),
    };
    Ok(state.catalog.add_vm(&record).await?)
}

async fn found(state: &ApiState, vm: VmId) -> Answer<DatasourceRecord> {
    let filter = DatasourceFilter {
        vm: Some(vm),
        gone: Some(false),
        ..DatasourceFilter::default()
    };
    let mut found = state.catalog.all_datasources(&filter).await?;
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(Kind::VmNotFound { vm: vm.to_string() }.into()),
        (Some(_), _) => Err(Failure::malformed(
            "Several hosts have a VM of this id: it cannot be told which one is meant.",
        )),
    }
}

/// The vault of this name or place, or the only one.
async fn vault(state: &ApiState, wanted: Option<&str>) -> Answer<String> {
    let vaults = state.catalog.vaults().await?;
    let Some(wanted) = wanted else {
        return match vaults.as_slice() {
            [only] => Ok(only.name.clone()),
            [] => Err(Failure::malformed(
                "There is no vault yet: make one with `tresor vault create` on the machine of the service.",
            )),
            _ => Err(Failure::malformed(
                "There are several vaults: say which with `vault` (on the command line: --vault).",
            )),
        };
    };
    let named = vaults.iter().find(|vault| vault.name == wanted);
    match named.or_else(|| vaults.iter().find(|vault| vault.location == wanted)) {
        Some(vault) => Ok(vault.name.clone()),
        // The catalog's own word for it.
        None => Ok(state.catalog.vault(wanted).await?.name),
    }
}
