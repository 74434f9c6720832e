//! `tresor backup`

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tresor_catalog::{Catalog, PointRecord, VmRecord};
use tresor_jobs::NewJob;
use tresor_link::{GuardCommand, QemuGuestAgent, Quiescer};
use tresor_model::{Consistency, DiskStats, JobId, JobKind, ReadMode, RecoveryPoint};
use tresor_problem::Problem;
use tresor_vault::Vault;
use tresor_workflows::backup::{
    self, BackupContext, BackupRequest, BackupServices, DEFAULT_TRANSFER_LIMIT,
};

use super::{
    open::{self, find_vault, open_vault},
    session::{Session, print_problem},
    vm::connect,
};
use crate::{
    args::{BackupArgs, RequiredConsistency},
    host_lock::HostLock,
    output::{bytes, micros, note},
    state::internal,
};

pub(super) async fn run(args: BackupArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let vm = open::vm(&catalog, &args.vm).await?;
    let place = find_vault(&catalog, args.access.vault.as_deref(), Some(&vm)).await?;
    let vault = open_vault(&place, &args.access).await?;
    let state = session.state()?;
    let request = request(&args, &vm, session)?;
    let runner = session.runner(&catalog);
    let lock = backup::lock_of(&request);
    let job = JobId::generate();
    // Asked first: the other job may hold the VM's only QMP connection.
    let holder = open::absolute(state.path());
    let _lock = HostLock::take(&state.lock_dir(), (vm.id, &vm.name), job, &holder)?;
    runner.refuse_busy(&lock).await?;
    let fleecing_dirs = vec![
        request.fleecing_dir.clone(),
        open::absolute(&state.fleecing_dir()),
    ];
    let provider = Arc::new(connect(&vm, &state, fleecing_dirs).await?);
    // Checked once, so that the closure below cannot fail.
    guest_agent(&vm)?;
    let context = |job: JobId, request: &BackupRequest| {
        let quiescer = guest_agent(&vm).ok().flatten();
        let services = BackupServices {
            provider: provider.clone(),
            quiescer: quiescer.map(|agent| Box::new(agent) as Box<dyn Quiescer>),
            vault: vault.clone(),
        };
        BackupContext::new(job, request.clone(), services)
    };

    let again = |job: &NewJob| {
        let request = request.as_recorded(&job.params);
        (backup::plan(job.id, &request), context(job.id, &request))
    };
    runner.recover(JobKind::Backup, Some(&lock), again).await?;

    let mut ctx = context(job, &request);
    runner.run(backup::plan(job, &request), &mut ctx).await?;
    let point = ctx.point.take();
    let point = point.ok_or_else(|| internal("The backup left no recovery point.".to_owned()))?;
    remember(&catalog, &vault, &point).await;
    session
        .output
        .result("backup", &summary(&point), || text(&point))
        .map_err(print_problem)
}

fn request(args: &BackupArgs, vm: &VmRecord, session: &Session) -> Result<BackupRequest, Problem> {
    let fleecing_dir = match &args.fleecing_dir {
        Some(dir) => open::absolute(dir),
        None => open::absolute(&session.state()?.fleecing_dir()),
    };
    Ok(BackupRequest {
        vm: vm.id,
        vm_name: vm.name.clone(),
        socket: vm.qmp_socket.display().to_string(),
        excluded: vm.excluded_disks.iter().cloned().collect(),
        fleecing_dir,
        fleecing_limit: args.fleecing_limit.map(|mib| mib << 20),
        required: match args.require {
            RequiredConsistency::Crash => Consistency::Crash,
            RequiredConsistency::FileSystem => Consistency::FileSystem,
            RequiredConsistency::Application => Consistency::Application,
        },
        freeze_limit: Duration::from_secs(args.freeze_limit.into()),
        transfer_limit: args.transfer_limit.map_or(DEFAULT_TRANSFER_LIMIT, |limit| {
            Duration::from_secs(limit.into())
        }),
    })
}

/// The VM's guest agent, with this program as its guard.
pub(super) fn guest_agent(vm: &VmRecord) -> Result<Option<QemuGuestAgent>, Problem> {
    let Some(socket) = &vm.agent_socket else {
        return Ok(None);
    };
    let program = std::env::current_exe()
        .map_err(|error| internal(format!("This program's own file is not known: {error}.")))?;
    let guard = GuardCommand::new(program).arg("thaw-guard");
    Ok(Some(QemuGuestAgent::new(socket, guard)))
}

/// The catalog's copy is a convenience; the vault is the truth.
async fn remember(catalog: &Catalog, vault: &Vault, point: &RecoveryPoint) {
    let entry = PointRecord::of(point, vault.id());
    if let Err(error) = catalog.upsert_point(&entry).await {
        note(&format!(
            "warning: the point is in the vault, but not in the catalog: {error}"
        ));
    }
}

fn total(point: &RecoveryPoint) -> DiskStats {
    point
        .disks
        .iter()
        .fold(DiskStats::default(), |sum, disk| sum.plus(&disk.stats))
}

fn summary(point: &RecoveryPoint) -> serde_json::Value {
    json!({
        "point": point.id, "vm": point.vm_name, "taken_at": point.taken_at,
        "consistency": point.consistency, "total": total(point), "warnings": point.warnings,
        "disks": point.disks.iter().map(|disk| json!({
            "name": disk.stream.name, "size": disk.stream.size,
            "read_mode": disk.read_mode, "stats": disk.stats,
        })).collect::<Vec<_>>(),
    })
}

fn text(point: &RecoveryPoint) -> String {
    let sum = total(point);
    let mut text = format!(
        "Recovery point {} of {} ({})\n  {}\n  read {}, new {}, stored {}",
        point.id,
        point.vm_name,
        point.consistency.achieved,
        point.consistency.proof,
        bytes(sum.read),
        bytes(sum.new),
        bytes(sum.stored),
    );
    if let Some(frozen) = point.consistency.frozen_us {
        text.push_str(&format!("\n  guest held for {}", micros(frozen)));
    }
    for disk in &point.disks {
        let how = match &disk.read_mode {
            ReadMode::Incremental { .. } => "what changed since the last point".to_owned(),
            ReadMode::Full { reason } => format!("all data: {reason}"),
        };
        text.push_str(&format!("\n  disk {}: {how}", disk.stream.name));
    }
    text
}
