//! `tresor vm set`, `tresor vm rename`: a VM that is to be found elsewhere, or called otherwise.

use serde_json::json;
use tresor_disk::SnapshotProvider as _;
use tresor_host::{absolute, provider, usage, vm_problem};
use tresor_model::StreamName;
use tresor_problem::{Kind, Problem};

use super::{
    open,
    session::{Session, print_problem},
};
use crate::args::VmSetArgs;

/// Changes where a VM is to be found and what of it is backed up. A socket at which another VM
/// answers is refused, and one at which nobody does.
pub(super) async fn set(session: &Session, args: VmSetArgs) -> Result<(), Problem> {
    if args.changes_nothing() {
        return Err(usage(
            "Nothing to change: give --qmp, --agent, --no-agent, --exclude, --include, --keep-… or --keep-all.",
        ));
    }
    let catalog = session.catalog().await?;
    let mut vm = open::vm(&catalog, &args.name).await?;
    let moved = args.qmp.is_some();
    if let Some(qmp) = args.qmp {
        vm.qmp_socket = absolute(&qmp);
    }
    if let Some(agent) = args.agent {
        vm.agent_socket = Some(absolute(&agent));
    }
    if args.no_agent {
        vm.agent_socket = None;
    }
    for disk in args.exclude {
        move_disk(disk, &mut vm.included_disks, &mut vm.excluded_disks);
    }
    for disk in args.include {
        move_disk(disk, &mut vm.excluded_disks, &mut vm.included_disks);
    }
    if args.keep_all {
        vm.retention = None;
    }
    // All rules together: one that is not named is not set any more.
    if let Some(rules) = args.keep.rules() {
        vm.retention = Some(rules);
    }
    if moved {
        // The VM itself must answer: what it was when it was last seen says nothing of a new place.
        let mut seen = vm.clone();
        seen.machine = None;
        let described = provider(&seen, &session.state()?, Vec::new())
            .describe()
            .await;
        let described = described.map_err(|error| vm_problem(&error, &vm))?;
        if described.id != vm.id {
            return Err(Kind::VmIdentityMismatch {
                vm: vm.name,
                expected: vm.id.to_string(),
                found: described.id.to_string(),
            }
            .into());
        }
        vm.host = session.here(&catalog).await?;
    }
    let changed = catalog.update_vm(&vm).await;
    changed.map_err(|error| Problem::from(&error))?;
    let result = json!({
        "name": vm.name, "id": vm.id, "qmp_socket": vm.qmp_socket, "agent_socket": vm.agent_socket,
        "excluded_disks": vm.excluded_disks, "included_disks": vm.included_disks,
        "retention": vm.retention,
    });
    session
        .output
        .result("vm_changed", &result, || {
            format!("VM {} ({}) is noted as it is now.", vm.name, vm.id)
        })
        .map_err(print_problem)
}

fn move_disk(disk: StreamName, from: &mut Vec<StreamName>, to: &mut Vec<StreamName>) {
    from.retain(|other| *other != disk);
    if !to.contains(&disk) {
        to.push(disk);
    }
}

/// Gives a VM another name. Its recovery points are found by its identity, so they stay its own.
pub(super) async fn rename(session: &Session, name: &str, to: &str) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let vm = open::vm(&catalog, name).await?;
    let renamed = catalog.rename_vm(name, to).await;
    renamed.map_err(|error| Problem::from(&error))?;
    let result = json!({ "name": to, "id": vm.id, "was": name });
    session
        .output
        .result("vm_renamed", &result, || {
            format!("VM {name} ({}) is now called {to}.", vm.id)
        })
        .map_err(print_problem)
}
