//! Backups that were queued, on this machine.

use tokio_util::sync::CancellationToken;
use tresor_catalog::VmRecord;
use tresor_disk::SnapshotProvider as _;
use tresor_jobs::NewJob;
use tresor_model::{JobKind, MachineDefinition, RecoveryPoint};
use tresor_problem::Problem;
use tresor_workflows::backup::{self, BackupOrder};

use crate::{
    role::{Begun, HostRole},
    vm::vm_problem,
    work::VmWork,
};

/// Begins a backup and carries it to its end. What stands in its way before it is taken up is the
/// error.
pub(crate) async fn run(
    role: &HostRole,
    job: &NewJob,
    cancel: &CancellationToken,
) -> Result<Begun, Problem> {
    let order = BackupOrder::of_params(&job.params)?;
    let mut work = match take(role, &order).await {
        Ok(work) => work,
        Err(problem) if problem.is("VmBusy") => return Ok(Begun::Busy),
        Err(problem) => return Err(problem),
    };
    work.note(job.id)?;
    end_dead_ones(role, &work, &order).await?;
    let plan = backup::plan(job.id, &order);
    let mut ctx = work.context(job.id, order);
    let done = role.take_up(plan, &mut ctx, cancel).await;
    let (seen, point) = (ctx.seen.take(), ctx.point.take());
    remember(role, &work, seen.as_ref(), point.as_ref()).await;
    done
}

/// Ends a job of a dead process.
pub(crate) async fn end(role: &HostRole, job: &NewJob) -> Result<(), Problem> {
    let order = BackupOrder::of_params(&job.params)?;
    let work = take(role, &order).await?;
    end_dead_ones(role, &work, &order).await
}

async fn take(role: &HostRole, order: &BackupOrder) -> Result<VmWork, Problem> {
    let vm: VmRecord = role.registry.vm(order.vm).await?;
    let name = order.vault.as_deref().unwrap_or(&vm.vault);
    let vault = role.registry.vault(name, order.upload_limit).await?;
    VmWork::take(&role.state, vm, vault, None).await
}

/// Unwinds what dead processes left of this VM's backups. The VM is looked at before: one that cannot be
/// reached keeps its dead jobs for a better day.
async fn end_dead_ones(role: &HostRole, work: &VmWork, order: &BackupOrder) -> Result<(), Problem> {
    let lock = order.lock();
    let abandoned = role.engine.abandoned().await;
    let mut abandoned = abandoned.map_err(|error| Problem::from(&error))?;
    abandoned.retain(|header| {
        header.job.kind == JobKind::Backup && header.job.lock.as_deref() == Some(lock.as_str())
    });
    if abandoned.is_empty() {
        return Ok(());
    }
    let described = work.provider.describe().await;
    described.map_err(|error| vm_problem(&error, &work.vm))?;
    for header in abandoned {
        let job = header.job.id;
        let order = BackupOrder::of_params(&header.job.params)?;
        let plan = backup::plan(job, &order);
        let mut ctx = work.context(job, order);
        role.recover(plan, &mut ctx).await?;
    }
    Ok(())
}

/// The registry's copies are a convenience; the vault is the truth.
async fn remember(
    role: &HostRole,
    work: &VmWork,
    seen: Option<&MachineDefinition>,
    point: Option<&RecoveryPoint>,
) {
    let (vm, registry) = (&work.vm, &role.registry);
    if let Some(machine) = seen
        && vm.machine.as_ref() != Some(machine)
        && let Err(problem) = registry.note_machine(&vm.name, machine).await
    {
        tracing::warn!(vm = %vm.name, %problem, "what the VM is now could not be noted");
    }
    if let Some(point) = point
        && let Err(problem) = registry.note_point(work.vault.id(), point).await
    {
        tracing::warn!(point = %point.id, %problem, "the point is in the vault, but not in the catalog");
    }
}
