//! Finding and opening what commands name: vaults, VMs, recovery points.

use std::path::Path;

use tresor_catalog::{Catalog, VmRecord};
use tresor_host::{Location, Manner, Storage, VaultPlace, open_vault_at, usage};
use tresor_model::RecoveryPoint;
use tresor_problem::{Kind, Problem};
use tresor_vault::{PointList, PointSummary, Vault};
use tresor_workflows::vault_problem;

use crate::{
    args::{KeyArgs, PointSelector, StoreArgs, VaultAccess},
    output::note,
};

/// Finds the vault that is meant: by name, by directory, the VM's, or the only one there is.
pub(crate) async fn find_vault(
    catalog: &Catalog,
    named: Option<&str>,
    of_vm: Option<&VmRecord>,
) -> Result<VaultPlace, Problem> {
    let wanted = named.or_else(|| of_vm.map(|vm| vm.vault.as_str()));
    if let Some(wanted) = wanted {
        return find_named(catalog, wanted, &StoreArgs::default()).await;
    }
    let vaults = catalog
        .vaults()
        .await
        .map_err(|error| Problem::from(&error))?;
    match vaults.as_slice() {
        [only] => VaultPlace::of(only),
        [] => Err(usage(
            "No vault is known here: say which with --vault, or make one with `tresor vault create`.",
        )),
        _ => Err(usage("Several vaults are known: say which with --vault.")),
    }
}

/// Finds the vault of this name, directory or URL. How to reach one that the catalog knows, the catalog
/// says; the options are for others.
pub(crate) async fn find_named(
    catalog: &Catalog,
    wanted: &str,
    store: &StoreArgs,
) -> Result<VaultPlace, Problem> {
    let vaults = catalog.vaults().await;
    let vaults = vaults.map_err(|error| Problem::from(&error))?;
    let known = match vaults.iter().find(|vault| vault.name == wanted) {
        Some(known) => known,
        None => {
            let location = Location::read(Path::new(wanted), store.settings())?;
            let text = location.to_string();
            match vaults.iter().find(|vault| vault.location == text) {
                Some(known) => known,
                None => return Ok(VaultPlace::at(location)),
            }
        }
    };
    if *store != StoreArgs::default() {
        return Err(usage(&format!(
            "Options for an object store were given for vault {}, and this machine knows already how \
             to reach it.",
            known.name
        )));
    }
    VaultPlace::of(known)
}

/// Opens a vault with the key that the options, the environment or the catalog give.
pub(crate) async fn open_vault(place: &VaultPlace, access: &VaultAccess) -> Result<Vault, Problem> {
    open_vault_at(place, &access.key.choice(), Manner::default()).await
}

/// A vault's storage, for whoever looks for damage; and the vault, if it opens.
pub(crate) async fn storage(place: &VaultPlace, key: &KeyArgs) -> Result<Storage, Problem> {
    let storage = Storage::open(place, &key.choice()).await?;
    if storage.vault.is_none() && storage.unopened.is_none() {
        note("no key was given: what needs none is looked at");
    }
    Ok(storage)
}

/// Finds and opens the vault that `access` names.
pub(crate) async fn vault(catalog: &Catalog, access: &VaultAccess) -> Result<Vault, Problem> {
    let place = find_vault(catalog, access.vault.as_deref(), None).await?;
    open_vault(&place, access).await
}

/// A registered VM.
pub(crate) async fn vm(catalog: &Catalog, name: &str) -> Result<VmRecord, Problem> {
    catalog
        .vm(name)
        .await
        .map_err(|error| Problem::from(&error))
}

/// All points of a vault, oldest first.
pub(crate) async fn points(vault: &Vault) -> Result<Vec<PointSummary>, Problem> {
    Ok(list(vault).await?.points)
}

/// The same with deleted ones and with marks.
pub(crate) async fn list(vault: &Vault) -> Result<PointList, Problem> {
    let points = vault.points().await;
    let list = points.map_err(|error| vault_problem(&error, vault.location()))?;
    for damaged in &list.damaged {
        note(&format!(
            "warning: a recovery point cannot be read: {damaged}"
        ));
    }
    if let Some(text) = elsewhere(list.elsewhere) {
        note(&text);
    }
    Ok(list)
}

/// What a holder of one domain is told of the others.
fn elsewhere(points: usize) -> Option<String> {
    match points {
        0 => None,
        1 => Some("1 recovery point is of another domain: this key does not open it".to_owned()),
        _ => Some(format!(
            "{points} recovery points are of other domains: this key does not open them"
        )),
    }
}

/// The points of the VM that is called so here, by its identity: it may have had another name when
/// they were made. Of one that is not registered, the points that were made under this name.
pub(crate) async fn points_named(
    catalog: &Catalog,
    vault: &Vault,
    name: &str,
) -> Result<Vec<PointSummary>, Problem> {
    let mut points = points(vault).await?;
    retain_named(catalog, &mut points, name).await?;
    Ok(points)
}

/// Leaves the points of one VM.
pub(crate) async fn retain_named(
    catalog: &Catalog,
    points: &mut Vec<PointSummary>,
    name: &str,
) -> Result<(), Problem> {
    let vms = catalog.vms().await.map_err(|error| Problem::from(&error))?;
    let id = vms.into_iter().find(|vm| vm.name == name).map(|vm| vm.id);
    points.retain(|point| match id {
        Some(id) => point.vm == id,
        None => point.vm_name == name,
    });
    Ok(())
}

/// The recovery point that is meant.
pub(crate) async fn point(
    catalog: &Catalog,
    vault: &Vault,
    selector: &PointSelector,
) -> Result<RecoveryPoint, Problem> {
    let id = match selector {
        PointSelector::Id(id) => *id,
        PointSelector::Latest(vm) => {
            let all = points_named(catalog, vault, vm).await?;
            let latest = all.last();
            latest
                .map(|point| point.id)
                .ok_or_else(|| Kind::PointNotFound {
                    point: format!("of VM {vm}"),
                })?
        }
    };
    let failed = |error| vault_problem(&error, vault.location());
    match vault.point(id).await {
        // A copy answers to the id of what it is a copy of.
        Err(error) if matches!(error.kind(), tresor_vault::ErrorKind::PointNotFound { .. }) => {
            let all = points(vault).await?;
            let copy_of =
                |point: &&PointSummary| point.copied_from.is_some_and(|from| from.point == id);
            match all.iter().find(copy_of) {
                Some(copy) => vault.point(copy.id).await.map_err(failed),
                None => Err(failed(error)),
            }
        }
        found => found.map_err(failed),
    }
}
