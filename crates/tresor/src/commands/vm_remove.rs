//! `tresor vm remove`: protection ends. The recovery points stay, or are marked as expired.

use std::io::{IsTerminal as _, Write as _};

use serde_json::json;
use tresor_catalog::VmRecord;
use tresor_disk::{Outcome, SnapshotProvider as _};
use tresor_host::{HostLock, absolute, provider, usage, vm_problem};
use tresor_model::VmId;
use tresor_problem::{Kind, Problem};
use tresor_vault::{PointSummary, Vault};
use tresor_workflows::vault_problem;

use super::{
    open::{self, find_vault, open_vault},
    session::{Session, print_problem},
};
use crate::{
    args::VmRemoveArgs,
    output::{bytes, note},
};

pub(super) async fn remove(session: &Session, args: VmRemoveArgs) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let vm = open::vm(&catalog, &args.name).await?;
    let state = session.state()?;
    let _lock = HostLock::take(&state.lock_dir(), (vm.id, &vm.name), state.path())?;
    let expire = if args.delete_points {
        let place = find_vault(&catalog, args.access.vault.as_deref(), Some(&vm)).await?;
        let vault = open_vault(&place, &args.access).await?;
        let (points, held) = points_of(&vault, vm.id).await?;
        confirm(&vm, &points, &held, args.yes)?;
        Some((vault, points, held))
    } else {
        None
    };
    let bitmaps = match session.expect_here(&catalog, &vm).await {
        Ok(()) => take_bitmaps_out(session, &vm).await,
        Err(elsewhere) => Err(elsewhere),
    };
    let mut expired = Vec::new();
    let mut kept = Vec::new();
    if let Some((vault, points, held)) = expire {
        kept = held;
        for point in points {
            let marked = vault.expire(point.id).await;
            marked.map_err(|error| vault_problem(&error, vault.location()))?;
            expired.push(point.id);
        }
    }
    let removed = catalog.remove_vm(&vm.name).await;
    removed.map_err(|error| Problem::from(&error))?;
    let result = json!({
        "name": vm.name, "id": vm.id, "vault": vm.vault, "expired": expired,
        "held": kept.iter().map(|held| json!({ "point": held.0.id, "reason": held.1 })).collect::<Vec<_>>(),
        "removed_from_vm": bitmaps.as_ref().ok(),
        "left_in_vm": bitmaps.as_ref().err().map(|problem| &problem.cause),
    });
    session
        .output
        .result("vm_removed", &result, || {
            text(&vm, args.delete_points, expired.len(), &bitmaps)
        })
        .map_err(print_problem)
}

fn text(
    vm: &VmRecord,
    deleted: bool,
    expired: usize,
    left: &Result<Vec<String>, Problem>,
) -> String {
    let points = if deleted {
        format!(
            "Its {expired} recovery points in vault {} are marked as expired: they are not listed any \
             more. `tresor collect` frees their space.",
            vm.vault
        )
    } else {
        format!("Its recovery points stay in vault {}.", vm.vault)
    };
    let bitmaps = match left {
        Ok(names) if names.is_empty() => String::new(),
        Ok(names) => format!("\nTaken out of the VM: {}", names.join(", ")),
        Err(problem) => format!(
            "\nwarning: what Tresor left in the VM (its dirty bitmaps) stays there: {}",
            problem.cause
        ),
    };
    format!(
        "VM {} ({}) is no longer registered. {points}{bitmaps}",
        vm.name, vm.id
    )
}

/// A point that stays, and why.
type Held = (PointSummary, String);

/// The VM's points that may go, and those that something holds. Deleted ones are among them.
async fn points_of(vault: &Vault, vm: VmId) -> Result<(Vec<PointSummary>, Vec<Held>), Problem> {
    let list = open::list(vault).await?;
    let (now, mut go, mut held) = (jiff::Timestamp::now(), Vec::new(), Vec::new());
    let all = list.points.into_iter().chain(list.deleted);
    for point in all.filter(|point| point.vm == vm) {
        let marks = list.marks.get(&point.id);
        match marks.and_then(|marks| marks.refuses(now)) {
            Some(reason) => held.push((point, reason)),
            None => go.push(point),
        }
    }
    Ok((go, held))
}

/// Prints the plan; goes on only when it was agreed to.
fn confirm(
    vm: &VmRecord,
    points: &[PointSummary],
    held: &[Held],
    yes: bool,
) -> Result<(), Problem> {
    note(&format!(
        "These {} recovery points of {} ({}) will be marked as expired in vault {}:",
        points.len(),
        vm.name,
        vm.id,
        vm.vault
    ));
    for point in points {
        note(&format!(
            "  {}  {}  stored {}",
            point.id,
            point.taken_at,
            bytes(point.stored)
        ));
    }
    for (point, reason) in held {
        note(&format!("  {} stays: {reason}", point.id));
    }
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(usage(
            "Nothing was changed. To do what the plan says, add --yes.",
        ));
    }
    // A prompt that cannot be shown is answered by nobody.
    write!(std::io::stderr(), "Type the VM's name to agree: ").ok();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && answer.trim() == vm.name {
        return Ok(());
    }
    let what = "Removing the VM".to_owned();
    Err(Kind::Interrupted { what }.into())
}

/// Everything of ours goes, bitmaps too: nobody will use them. A VM that cannot be reached keeps
/// them; they cost it a little memory and nothing else.
async fn take_bitmaps_out(session: &Session, vm: &VmRecord) -> Result<Vec<String>, Problem> {
    let state = session.state()?;
    let provider = provider(vm, &state, vec![absolute(&state.fleecing_dir())]);
    let failed = |error| vm_problem(&error, vm);
    let described = provider.describe().await.map_err(failed)?;
    if described.id != vm.id {
        return Err(Kind::VmIdentityMismatch {
            vm: vm.name.clone(),
            expected: vm.id.to_string(),
            found: described.id.to_string(),
        }
        .into());
    }
    let mut removed = Vec::new();
    for orphan in provider.find_orphans(&[]).await.map_err(failed)? {
        let released = provider.release(&orphan.tag, Outcome::Abandoned).await;
        removed.extend(released.map_err(failed)?.removed);
    }
    Ok(removed)
}
