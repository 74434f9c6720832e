//! `tresor reconcile`: ends what crashes left of ours in VMs and beside them.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde::Serialize;
use tresor_catalog::Catalog;
use tresor_disk::Outcome;
use tresor_disk_qemu::{LeftFile, is_used, left_files, remove_left};
use tresor_host::HostLock;
use tresor_model::VmId;
use tresor_problem::{Kind, Problem};
use tresor_transfer::restore::holder;
use tresor_workflows::{
    last_point_of,
    reconcile::{Cleared, Mode, ReconcileError, reconcile},
    snapshot_problem, vault_problem,
};

use super::{
    held::{Held, no_backup},
    open,
    session::{Session, print_problem},
};
use crate::{args::ReconcileArgs, output::note};

/// One leftover.
#[derive(Debug, Serialize)]
struct Row {
    /// The VM's name, or its id when it is not registered.
    vm: String,
    /// What it is.
    what: String,
    /// What became of it.
    done: String,
}

pub(super) async fn run(args: ReconcileArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let names = match &args.vm {
        Some(vm) => vec![open::vm(&catalog, vm).await?.name],
        None => {
            let vms = catalog.vms().await.map_err(|error| Problem::from(&error))?;
            let here = session.here(&catalog).await?;
            let here = vms.into_iter().filter(|vm| vm.host == here);
            here.map(|vm| vm.name).collect()
        }
    };
    let mut rows = Vec::new();
    let mut first = None;
    for name in &names {
        match in_vm(session, &catalog, &args, name).await {
            Ok(found) => rows.extend(found),
            // The other VMs have their turn all the same.
            Err(problem) => {
                note(&format!("{name}: {} [{}]", problem.cause, problem.code));
                first.get_or_insert(problem);
            }
        }
    }
    if args.vm.is_none() {
        rows.extend(beside_vms(session, &args).await?);
    }
    let printed = session.output.list(
        "leftover",
        &["VM", "what", "done"],
        &rows,
        |row| vec![row.vm.clone(), row.what.clone(), row.done.clone()],
        "nothing of Tresor's was left behind",
    );
    printed.map_err(print_problem)?;
    first.map_or(Ok(()), Err)
}

/// What is left in a VM, and what its dead jobs say.
async fn in_vm(
    session: &Session,
    catalog: &Arc<Catalog>,
    args: &ReconcileArgs,
    name: &str,
) -> Result<Vec<Row>, Problem> {
    let options = no_backup(name, args.access.clone(), args.fleecing_dir.clone());
    let held = Held::take(session, catalog, &options).await?;
    let mode = if args.dry_run {
        Mode::DryRun
    } else {
        held.recover().await?;
        Mode::Clear
    };
    let failed = |error| vault_problem(&error, held.work.vault.location());
    let last = last_point_of(&held.work.vault, held.work.vm.id)
        .await
        .map_err(failed)?;
    let cleared = reconcile(&held.work.provider, &held.work.vault, last.as_ref(), mode).await;
    let cleared = cleared.map_err(|error| match error {
        ReconcileError::Vault(error) => failed(error),
        ReconcileError::Snapshot(error) => {
            snapshot_problem(&error, &held.work.vm.name, &held.work.socket())
        }
    })?;
    let row = |Cleared {
                   tag,
                   outcome,
                   removed,
               }: Cleared| Row {
        vm: name.to_owned(),
        what: format!("snapshot {tag}"),
        done: describe(outcome, mode, &removed),
    };
    Ok(cleared.into_iter().map(row).collect())
}

fn describe(outcome: Outcome, mode: Mode, removed: &[String]) -> String {
    let how = match outcome {
        Outcome::Committed => "as the last recovery point's",
        Outcome::Abandoned => "as given up",
    };
    match mode {
        Mode::DryRun => format!("would be ended {how}"),
        Mode::Clear => format!("ended {how}; removed: {}", removed.join(", ")),
    }
}

/// Files of VMs that are gone, and locks that nobody holds.
async fn beside_vms(session: &Session, args: &ReconcileArgs) -> Result<Vec<Row>, Problem> {
    let state = session.state()?;
    let locks = state.lock_dir();
    let mut dirs = vec![state.fleecing_dir(), locks.clone()];
    dirs.extend(args.fleecing_dir.clone());
    let mut by_vm: BTreeMap<VmId, Vec<LeftFile>> = BTreeMap::new();
    for file in left_files(&dirs).map_err(|error| unusable(&locks, &error))? {
        by_vm.entry(file.vm).or_default().push(file);
    }
    let mut rows = Vec::new();
    for (vm, files) in by_vm {
        let name = vm.to_string();
        // Whoever works on the VM now needs its files.
        let Ok(_lock) = HostLock::take(&locks, (vm, &name), state.path()) else {
            continue;
        };
        for file in files {
            rows.extend(one_file(&file, args.dry_run).await?);
        }
    }
    if !args.dry_run {
        let stale = HostLock::remove_stale(&locks);
        for path in stale.map_err(|error| unusable(&locks, &error))? {
            rows.push(Row {
                vm: String::new(),
                what: path.display().to_string(),
                done: "nobody held this lock: removed".to_owned(),
            });
        }
    }
    Ok(rows)
}

/// A file that no process has open is nobody's.
async fn one_file(file: &LeftFile, dry_run: bool) -> Result<Option<Row>, Problem> {
    let LeftFile { path, vm, .. } = file;
    let failed = |error: std::io::Error| unusable(path, &error);
    if in_use(path).await.map_err(failed)? {
        return Ok(None);
    }
    let done = if dry_run {
        "would be removed".to_owned()
    } else {
        remove_left(file).await.map_err(failed)?;
        "removed".to_owned()
    };
    let (vm, what) = (vm.to_string(), path.display().to_string());
    Ok(Some(Row { vm, what, done }))
}

/// Whether a process has the file, or works with the directory.
async fn in_use(path: &Path) -> std::io::Result<bool> {
    if path.is_dir() {
        return is_used(path).await;
    }
    Ok(holder(path)?.is_some())
}

fn unusable(path: &Path, error: &std::io::Error) -> Problem {
    let (path, reason) = (path.display().to_string(), error.to_string());
    Problem::caused_by(Kind::StateUnusable { path, reason }, error)
}
