//! `tresor catalog rebuild`: what the vaults know, put into the catalog again (invariant I7).

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use serde_json::json;
use tresor_backend_object::Settings;
use tresor_catalog::{Catalog, PointRecord, VaultRecord, VmRecord};
use tresor_host::{Location, VaultPlace, agent_of, qmp_of};
use tresor_model::{HostId, PointId, RecoveryPoint, VmId};
use tresor_problem::Problem;
use tresor_vault::{PointSummary, Vault};
use tresor_workflows::vault_problem;

use super::{
    open::{self, open_vault},
    session::{Session, print_problem},
    vault::Newcomer,
};
use crate::{
    args::{KeyArgs, NamedVault, RebuildArgs, VaultAccess},
    output::note,
};

/// So many recovery points are read at once.
const AT_ONCE: usize = 8;

/// A VM as its newest recovery point tells.
struct Seen {
    /// What makes one the newest: what was made in the vault before copies, which may be behind.
    rank: (bool, (u64, Timestamp, PointId)),
    vault: String,
    point: RecoveryPoint,
}

pub(super) async fn run(args: RebuildArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let names = if args.vault.is_empty() {
        let known = catalog.vaults().await;
        let known = known.map_err(|error| Problem::from(&error))?;
        known.into_iter().map(|vault| vault.name).collect()
    } else {
        let mut names = Vec::new();
        for named in &args.vault {
            names.push(known_vault(session, &catalog, named, &args).await?);
        }
        names
    };
    let here = session.here(&catalog).await?;
    let (points, registered) = refill(&catalog, &names, &args.key, here).await?;
    let result = json!({ "vaults": names, "points": points, "vms": registered });
    let text = || {
        format!(
            "The catalog knows vaults {} with {points} recovery points; registered anew: {}.\n\
             Policies, and which VMs they protect, come back from a backup of the database (`tresor catalog \
             restore --list`), else they are to be given again: `tresor policies set`, `tresor protect`.",
            names.join(", "),
            match registered.as_slice() {
                [] => "no VM".to_owned(),
                vms => vms.join(", "),
            },
        )
    };
    let printed = session.output.result("catalog_rebuilt", &result, text);
    printed.map_err(print_problem)
}

/// Reads what vaults hold into the catalog: how many recovery points, and the VMs that were registered anew.
pub(super) async fn refill(
    catalog: &Catalog,
    vaults: &[String],
    key: &KeyArgs,
    here: Option<HostId>,
) -> Result<(usize, Vec<String>), Problem> {
    let mut seen = BTreeMap::new();
    let mut points = 0;
    for name in vaults {
        points += read_vault(catalog, name, key, &mut seen).await?;
    }
    Ok((points, register_vms(catalog, seen, here).await?))
}

/// The name of a vault that the catalog knows by now.
async fn known_vault(
    session: &Session,
    catalog: &Catalog,
    named: &NamedVault,
    args: &RebuildArgs,
) -> Result<String, Problem> {
    // Directories and stores may be given together.
    let is_store = named.path.to_str().is_some_and(|path| path.contains("://"));
    let settings = match is_store {
        true => args.store.settings(),
        false => Settings::default(),
    };
    let location = Location::read(&named.path, settings)?;
    let text = location.to_string();
    let known = catalog.vaults().await;
    let known = known.map_err(|error| Problem::from(&error))?;
    if let Some(known) = known.into_iter().find(|vault| vault.location == text) {
        return Ok(known.name);
    }
    let newcomer = Newcomer::check(session, location.clone(), named.name.clone()).await?;
    let mut place = VaultPlace::at(location);
    let kept = session.state()?.key_file(&newcomer.name);
    let access = access(&args.key);
    if kept.exists() {
        place.key_file = Some(kept.clone());
        let vault = open_vault(&place, &access).await?;
        newcomer.register(&vault, &kept).await?;
        return Ok(newcomer.name);
    }
    let vault = open_vault(&place, &access).await?;
    newcomer.add_key(&vault).await?;
    Ok(newcomer.name)
}

fn access(key: &KeyArgs) -> VaultAccess {
    VaultAccess {
        vault: None,
        key: key.clone(),
    }
}

/// Notes the recovery points of a vault, and the newest one of each VM.
async fn read_vault(
    catalog: &Catalog,
    name: &str,
    key: &KeyArgs,
    seen: &mut BTreeMap<VmId, Seen>,
) -> Result<usize, Problem> {
    let entry: VaultRecord = catalog
        .vault(name)
        .await
        .map_err(|error| Problem::from(&error))?;
    let vault = open_vault(&VaultPlace::of(&entry)?, &access(key)).await?;
    let mut summaries = open::points(&vault).await?;
    // Backups of databases are no VM's.
    summaries.retain(|summary| !summary.vm.is_database());
    let mut records = Vec::new();
    let reads = summaries.into_iter().map(|summary| read(&vault, summary));
    let mut reads = stream::iter(reads).buffered(AT_ONCE);
    while let Some(read) = reads.next().await {
        let Some((summary, point)) = read? else {
            continue;
        };
        records.push(PointRecord::of(&point, entry.id));
        let rank = (summary.copied_from.is_none(), summary.age());
        let older = seen.get(&point.vm).is_none_or(|seen| seen.rank < rank);
        if older {
            let vault = name.to_owned();
            seen.insert(point.vm, Seen { rank, vault, point });
        }
    }
    let replaced = catalog.replace_points(entry.id, &records).await;
    replaced.map_err(|error| Problem::from(&error))?;
    Ok(records.len())
}

/// A recovery point; `None` and a warning when it cannot be read, which is no reason to leave out the others.
async fn read(
    vault: &Vault,
    summary: PointSummary,
) -> Result<Option<(PointSummary, RecoveryPoint)>, Problem> {
    match vault.point(summary.id).await {
        Ok(point) => Ok(Some((summary, point))),
        Err(error) if error.is_damage() => {
            let id = summary.id;
            note(&format!(
                "warning: recovery point {id} cannot be read: {error}"
            ));
            Ok(None)
        }
        Err(error) => Err(vault_problem(&error, vault.location())),
    }
}

/// Registers the VMs that the catalog does not know; gives their names.
async fn register_vms(
    catalog: &Catalog,
    seen: BTreeMap<VmId, Seen>,
    here: Option<HostId>,
) -> Result<Vec<String>, Problem> {
    let known = catalog.vms().await.map_err(|error| Problem::from(&error))?;
    let ids: BTreeSet<_> = known.iter().map(|vm| vm.id).collect();
    let mut names: BTreeSet<_> = known.into_iter().map(|vm| vm.name).collect();
    let mut registered = Vec::new();
    for (id, Seen { vault, point, .. }) in seen {
        if ids.contains(&id) {
            continue;
        }
        let Some(qmp_socket) = qmp_of(&point.machine) else {
            note(&format!(
                "VM {} ({id}) is not registered: its command line does not say where its QEMU listens. \
                 `tresor vm add` registers it.",
                point.vm_name
            ));
            continue;
        };
        let vm = VmRecord {
            name: free_name(&names, &point.vm_name, id),
            id,
            qmp_socket,
            agent_socket: agent_of(&point.machine),
            excluded_disks: Vec::new(),
            included_disks: Vec::new(),
            machine: Some(point.machine),
            host: here,
            vault,
            retention: None,
            created_at: Timestamp::now(),
        };
        let added = catalog.add_vm(&vm).await;
        added.map_err(|error| Problem::from(&error))?;
        names.insert(vm.name.clone());
        registered.push(vm.name);
    }
    Ok(registered)
}

/// The name that the VM had, or the same with its id when another VM has it now.
fn free_name(taken: &BTreeSet<String>, name: &str, id: VmId) -> String {
    match taken.contains(name) {
        false => name.to_owned(),
        true => format!("{name}-{id}"),
    }
}
