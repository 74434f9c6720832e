//! "Prepare": everything slow, while the guest runs.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_disk::{BitmapJudgement, PrepareRequest, VmState};
use tresor_jobs::{Scope, SubTask};
use tresor_model::{MachineDisk, RecoveryPoint, StreamName};
use tresor_problem::{Kind, Problem};
use tresor_vault::SessionOptions;

use super::{
    BackupContext,
    author::vouched,
    context::BackupRequest,
    disks::{apply_policy, bases, choose_disks, warnings},
    heal::heal,
    impact::Baseline,
    session_of, tag_of,
};
use crate::{
    describe::last_point_of,
    near::near_disk,
    reconcile::{Cleared, Mode, ReconcileError, reconcile},
};

/// One copy may hold a guest write this long before the snapshot is given up. Linux gives a SCSI
/// command 30 s before it resets the disk, Windows' virtio drivers 60 s.
const FLEECING_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) struct Prepare {
    pub(super) limit: Duration,
}

#[async_trait]
impl SubTask<BackupContext> for Prepare {
    fn name(&self) -> &'static str {
        "Prepare"
    }

    fn limit(&self) -> Option<Duration> {
        Some(self.limit)
    }

    async fn run(&self, ctx: &mut BackupContext, scope: &Scope) -> Result<Value, Problem> {
        let provider = ctx.services.provider.clone();
        let baseline = Baseline::begin(provider.as_ref()).await;
        let mut described = provider
            .describe()
            .await
            .map_err(|error| ctx.snapshot_problem(&error))?;
        check_identity(&ctx.request, described.id)?;
        check_state(&ctx.request, &described.state)?;
        let parent = last_point_of(&ctx.services.vault, described.id).await;
        let parent = parent.map_err(|error| ctx.vault_problem(&error))?;
        if clear_leftovers(ctx, parent.as_ref()).await? {
            let again = provider.describe().await;
            described = again.map_err(|error| ctx.snapshot_problem(&error))?;
        }
        if described.state != VmState::Stopped {
            ctx.seen = Some(described.machine.clone());
        }
        apply_policy(&mut described.machine.disks, &ctx.request);
        let vault = &ctx.services.vault;
        if let Some(cache) = &ctx.request.index_cache {
            vault.remember_in(cache);
        }
        let base = parent.as_ref().filter(|point| vault.can_build_on(point));
        ctx.is_elsewhere = parent.is_some() && base.is_none();
        let chosen = choose_disks(&described.machine.disks, base);
        if chosen.is_empty() {
            return Err(no_disk(&ctx.request, &described.machine.disks));
        }
        for text in warnings(&described.machine.disks) {
            ctx.warn(scope, text);
        }
        ctx.bases = bases(&chosen);
        warn_if_near(ctx, scope, &described.machine.disks, parent.as_ref()).await;
        ctx.vouched = vouched(&ctx.services.vault, base).await?;
        let disks = chosen.into_iter().map(|disk| disk.request).collect();
        ctx.facts.append(&mut described.facts);

        let mut options = SessionOptions::new(session_of(ctx.job));
        options.index_cache.clone_from(&ctx.request.index_cache);
        options.heal = heal(ctx, scope, parent.as_ref()).await?;
        options.base = parent.as_ref().map(|parent| parent.id);
        let writer = ctx.services.vault.begin_session(options).await;
        ctx.writer = Some(writer.map_err(|error| ctx.vault_problem(&error))?);
        ctx.usual_write = baseline.end(provider.as_ref()).await;

        let prepared = provider
            .prepare(PrepareRequest {
                vm: described.id,
                tag: tag_of(ctx.job),
                disks,
                fleecing_dir: ctx.request.fleecing_dir.clone(),
                fleecing_limit: ctx.request.order.fleecing_limit,
                fleecing_timeout: FLEECING_TIMEOUT,
            })
            .await
            .map_err(|error| ctx.snapshot_problem(&error))?;
        let output = json!({
            "session": session_of(ctx.job),
            "tag": tag_of(ctx.job),
            "parent": base.map(|point| point.id),
            "disks": judgements(&prepared.judgements()),
        });
        ctx.facts.append(&mut prepared.facts());
        ctx.prepared = Some(prepared);
        ctx.described = Some(described);
        ctx.parent = parent;
        Ok(output)
    }

    async fn undo(&self, ctx: &mut BackupContext, _output: Option<&Value>) -> Result<(), Problem> {
        ctx.unwind().await
    }
}

/// Ends what earlier backups could not take back: QEMU was not to be reached then. True when
/// there was anything.
async fn clear_leftovers(
    ctx: &mut BackupContext,
    last: Option<&RecoveryPoint>,
) -> Result<bool, Problem> {
    let (provider, vault) = (ctx.services.provider.clone(), ctx.services.vault.clone());
    let cleared = reconcile(provider.as_ref(), &vault, last, Mode::Clear).await;
    let cleared = cleared.map_err(|error| match error {
        ReconcileError::Snapshot(error) => ctx.snapshot_problem(&error),
        ReconcileError::Vault(error) => ctx.vault_problem(&error),
    })?;
    for Cleared { tag, removed, .. } in &cleared {
        tracing::info!(%tag, ?removed, "what an earlier snapshot left was removed");
    }
    Ok(!cleared.is_empty())
}

/// A vault on the VM's own disk is lost with it. Said once: with the first point that such an image is
/// in, not each night.
async fn warn_if_near(
    ctx: &mut BackupContext,
    scope: &Scope,
    disks: &[MachineDisk],
    parent: Option<&RecoveryPoint>,
) {
    let vault = PathBuf::from(ctx.services.vault.location());
    let news: Vec<MachineDisk> = disks
        .iter()
        .filter(|disk| disk.excluded.is_none() && !was_seen(disk, parent))
        .cloned()
        .collect();
    if let Some(near) = near_disk(&vault, &news).await {
        let problem = near.problem(&ctx.request.order.vm_name, &vault);
        ctx.warn_of(scope, problem.into());
    }
}

/// Whether the point before was made of the same image.
fn was_seen(disk: &MachineDisk, parent: Option<&RecoveryPoint>) -> bool {
    let mut before = parent.iter().flat_map(|parent| &parent.machine.disks);
    before.any(|other| other.excluded.is_none() && other.path == disk.path)
}

fn check_identity(request: &BackupRequest, found: tresor_model::VmId) -> Result<(), Problem> {
    if found == request.order.vm {
        return Ok(());
    }
    Err(Kind::VmIdentityMismatch {
        vm: request.order.vm_name.clone(),
        expected: request.order.vm.to_string(),
        found: found.to_string(),
    }
    .into())
}

fn check_state(request: &BackupRequest, state: &VmState) -> Result<(), Problem> {
    match state {
        VmState::Running | VmState::Paused(_) | VmState::Stopped => Ok(()),
        VmState::Other(state) => Err(Kind::SnapshotFailed {
            vm: request.order.vm_name.clone(),
            step: "begin a snapshot".to_owned(),
            reason: format!("the VM is in state `{state}`"),
        }
        .into()),
    }
}

fn no_disk(request: &BackupRequest, disks: &[MachineDisk]) -> Problem {
    let reasons: Vec<_> = disks
        .iter()
        .map(|disk| format!("{}: {}", disk.name, disk.excluded.as_deref().unwrap_or("")))
        .collect();
    Kind::DiskUnsupported {
        vm: request.order.vm_name.clone(),
        disk: "(all)".to_owned(),
        reason: if reasons.is_empty() {
            "the VM has no disk".to_owned()
        } else {
            format!("none is left: {}", reasons.join("; "))
        },
    }
    .into()
}

fn judgements(judged: &[(StreamName, BitmapJudgement)]) -> Value {
    let entries = judged.iter().map(|(name, judgement)| {
        let text = match judgement {
            BitmapJudgement::Trusted { bitmap } => format!("changes since bitmap {bitmap}"),
            BitmapJudgement::ReadAll { reason } => format!("all data: {reason}"),
        };
        (name.to_string(), Value::from(text))
    });
    Value::Object(entries.collect())
}
