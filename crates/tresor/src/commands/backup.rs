//! `tresor backup`

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use serde_json::json;
use tresor_catalog::{Catalog, PointRecord, VmRecord};
use tresor_disk::SnapshotProvider as _;
use tresor_disk_qemu::VmProvider;
use tresor_jobs::NewJob;
use tresor_link::{GuardCommand, QemuGuestAgent, Quiescer};
use tresor_model::{
    Consistency, DiskStats, JobId, JobKind, MachineDefinition, Observation, ReadMode,
    RecoveryPoint, StreamName,
};
use tresor_problem::Problem;
use tresor_vault::Vault;
use tresor_workflows::{
    backup::{
        self, BackupContext, BackupRequest, BackupServices, DEFAULT_TRANSFER_LIMIT, GUEST_WRITES,
    },
    last_point_of, vault_problem,
};

use super::{
    open::{self, find_vault, open_limited},
    session::{Runner, Session, print_problem},
    vm::{provider, vm_problem},
};
use crate::{
    args::{BackupArgs, RequiredConsistency},
    output::{bytes, micros, note},
    state::internal,
};

pub(super) async fn run(args: BackupArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let mut vm = open::vm(&catalog, &args.vm).await?;
    let place = find_vault(&catalog, args.access.vault.as_deref(), Some(&vm)).await?;
    let upload_limit = args.upload_limit.and_then(mib_per_second);
    let vault = open_limited(&place, &args.access, upload_limit).await?;
    let request = request(&args, &vm, session)?;
    let runner = session.runner(&catalog);
    let lock = backup::lock_of(&request);
    // Asked first: the other job may hold the VM's only QMP connection.
    runner.refuse_busy(&lock).await?;
    if vm.machine.is_none() {
        vm.machine = last_machine(&vault, &vm).await?;
    }
    let state = session.state()?;
    let fleecing_dirs = vec![
        request.fleecing_dir.clone(),
        open::absolute(&state.fleecing_dir()),
    ];
    let provider = provider(&vm, &state, fleecing_dirs);
    // Checked once, so that the backups below cannot fail by it.
    guest_agent(&vm)?;
    let backup = Backup {
        vm: &vm,
        request,
        provider,
        vault,
    };
    // Looked at before any job: a VM that cannot be reached leaves none.
    let described = backup.provider.describe().await;
    described.map_err(|error| vm_problem(&error, &vm))?;

    let again = |job: &NewJob| {
        let request = backup.request.as_recorded(&job.params);
        let context = backup.context(job.id, &request);
        (backup::plan(job.id, &request), context)
    };
    runner.recover(JobKind::Backup, Some(&lock), again).await?;

    let point = match backup.run(&runner, &catalog).await {
        Err(problem) if problem.code == VM_STARTED => {
            note("the VM was started: its disks are left to it, going on with the running VM");
            let answers = backup.provider.wait_until_running().await;
            answers.map_err(|_| problem)?;
            backup.run(&runner, &catalog).await?
        }
        point => point?,
    };
    remember(&catalog, &backup.vault, &point).await;
    session
        .output
        .result("backup", &summary(&point), || text(&point))
        .map_err(print_problem)
}

/// The code of the problem of a VM that was started while it was backed up.
const VM_STARTED: &str = "VmStarted";

/// What each try of a backup shares.
struct Backup<'a> {
    vm: &'a VmRecord,
    request: BackupRequest,
    provider: VmProvider,
    vault: Vault,
}

impl Backup<'_> {
    fn context(&self, job: JobId, request: &BackupRequest) -> BackupContext {
        let quiescer = guest_agent(self.vm).ok().flatten();
        let services = BackupServices {
            provider: Arc::new(self.provider.clone()),
            quiescer: quiescer.map(|agent| Box::new(agent) as Box<dyn Quiescer>),
            vault: self.vault.clone(),
        };
        BackupContext::new(job, request.clone(), services)
    }

    /// One job, and what was seen of the machine.
    async fn run(&self, runner: &Runner<'_>, catalog: &Catalog) -> Result<RecoveryPoint, Problem> {
        let job = JobId::generate();
        let mut ctx = self.context(job, &self.request);
        let done = runner.run(backup::plan(job, &self.request), &mut ctx).await;
        if let Some(machine) = &ctx.seen
            && self.vm.machine.as_ref() != Some(machine)
            && let Err(error) = catalog.set_vm_machine(&self.vm.name, machine).await
        {
            note(&format!(
                "warning: what the VM is now could not be noted: {error}"
            ));
        }
        done?;
        let point = ctx.point.take();
        point.ok_or_else(|| internal("The backup left no recovery point.".to_owned()))
    }
}

/// The machine of the newest recovery point: for a VM that was registered by an older release.
async fn last_machine(vault: &Vault, vm: &VmRecord) -> Result<Option<MachineDefinition>, Problem> {
    let point = last_point_of(vault, vm.id).await;
    let point = point.map_err(|error| vault_problem(&error, vault.location()))?;
    Ok(point.map(|point| point.machine))
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
        included: vm.included_disks.iter().cloned().collect(),
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
        "left_out": left_out(point).map(|(name, reason)| json!({
            "name": name, "reason": reason,
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
    for (name, reason) in left_out(point) {
        text.push_str(&format!("\n  disk {name}: left out: {reason}"));
    }
    text
}

/// The disks that are not in the point, with the reason.
fn left_out(point: &RecoveryPoint) -> impl Iterator<Item = (&StreamName, &str)> {
    let disks = point.machine.disks.iter();
    disks.filter_map(|disk| Some((&disk.name, disk.excluded.as_deref()?)))
}
