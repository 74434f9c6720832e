//! `tresor backup`

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use serde_json::json;
use tresor_catalog::{Catalog, PointRecord, VmRecord};
use tresor_jobs::NewJob;
use tresor_link::{GuardCommand, QemuGuestAgent, Quiescer};
use tresor_model::{Consistency, DiskStats, JobId, JobKind, Observation, ReadMode, RecoveryPoint};
use tresor_problem::Problem;
use tresor_vault::Vault;
use tresor_workflows::backup::{
    self, BackupContext, BackupRequest, BackupServices, DEFAULT_TRANSFER_LIMIT, GUEST_WRITES,
};

use super::{
    open::{self, find_vault, open_limited},
    session::{Session, print_problem},
    vm::connect,
};
use crate::{
    args::{BackupArgs, RequiredConsistency},
    output::{bytes, micros, note},
    state::internal,
};

pub(super) async fn run(args: BackupArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let vm = open::vm(&catalog, &args.vm).await?;
    let place = find_vault(&catalog, args.access.vault.as_deref(), Some(&vm)).await?;
    let upload_limit = args.upload_limit.and_then(mib_per_second);
    let vault = open_limited(&place, &args.access, upload_limit).await?;
    let state = session.state()?;
    let request = request(&args, &vm, session)?;
    let runner = session.runner(&catalog);
    let lock = backup::lock_of(&request);
    // Asked first: the other job may hold the VM's only QMP connection.
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

    let job = JobId::generate();
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
        index_cache: Some(open::absolute(&session.state()?.index_cache())),
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
        read_limit: args.read_limit.and_then(mib_per_second),
        reread: args.reread,
    })
}

/// In bytes per second.
fn mib_per_second(limit: u32) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::from(limit) << 20)
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
            "read_mode": disk.read_mode, "stats": disk.stats, "reread": disk.reread,
        })).collect::<Vec<_>>(),
        "guest_writes": guest_writes(point),
    })
}

/// What the backup did to the guest's writes, as the point has it.
fn guest_writes(point: &RecoveryPoint) -> Option<&serde_json::Value> {
    let fact = point.facts.iter().find(|fact| fact.name == GUEST_WRITES)?;
    match &fact.observation {
        Observation::Present { value } => Some(value),
        _ => None,
    }
}

fn guest_writes_text(seen: &serde_json::Value) -> String {
    let time = |name: &str| match seen[name].as_u64() {
        Some(time) => micros(time),
        None => "(none seen)".to_owned(),
    };
    let mut text = format!(
        "guest writes took {} before, {} on average at worst",
        time("before_us"),
        time("worst_us"),
    );
    if let Some(held) = seen["held_back_ms"].as_u64().filter(|held| *held > 0) {
        text.push_str(&format!(
            "; reading was held back for {}",
            micros(held.saturating_mul(1000))
        ));
    }
    if let Some(pace) = seen["slowest_pace"].as_u64() {
        text.push_str(&format!(", down to {}/s for the guest's sake", bytes(pace)));
    }
    text
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
    if let Some(seen) = guest_writes(point) {
        text.push_str(&format!("\n  {}", guest_writes_text(seen)));
    }
    for disk in &point.disks {
        let how = match &disk.read_mode {
            ReadMode::Incremental { .. } => "what changed since the last point".to_owned(),
            ReadMode::Full { reason } => format!("all data: {reason}"),
        };
        text.push_str(&format!("\n  disk {}: {how}", disk.stream.name));
        if let Some(reread) = disk.reread.filter(|reread| reread.bytes > 0) {
            let compared = bytes(reread.bytes);
            text.push_str(&format!("; {compared} of the rest compared"));
        }
    }
    text
}
