//! "Commit recovery point": from here on the backup happened.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_jobs::{Scope, SubTask};
use tresor_model::RecoveryPoint;
use tresor_problem::Problem;
use tresor_vault::Ended;

use super::{BackupContext, context::handed_over, session_of};

pub(super) struct Commit;

#[async_trait]
impl SubTask<BackupContext> for Commit {
    fn name(&self) -> &'static str {
        "Commit recovery point"
    }

    fn limit(&self) -> Option<Duration> {
        Some(Duration::from_secs(600))
    }

    async fn run(&self, ctx: &mut BackupContext, _scope: &Scope) -> Result<Value, Problem> {
        let writer = handed_over(ctx.writer.take(), "a vault session")?;
        let point = assemble(ctx)?;
        let committed = writer.commit(point.clone()).await;
        committed.map_err(|error| ctx.vault_problem(&error))?;
        let output = json!({ "point": point.id });
        ctx.point = Some(point);
        Ok(output)
    }

    fn commits(&self) -> bool {
        true
    }

    /// The vault knows: whoever asks first ends the session, so that the answer is final.
    async fn settle(&self, ctx: &mut BackupContext) -> Result<Option<Value>, Problem> {
        let session = session_of(ctx.job);
        let ended = ctx.services.vault.abort_session(session).await;
        match ended.map_err(|error| ctx.vault_problem(&error))? {
            Ended::WasCommitted => {
                let point = ctx.services.vault.point(session.into()).await;
                let point = point.map_err(|error| ctx.vault_problem(&error))?;
                let output = json!({ "point": point.id });
                ctx.point = Some(point);
                Ok(Some(output))
            }
            Ended::AbortedNow | Ended::WasAborted => Ok(None),
        }
    }
}

fn assemble(ctx: &mut BackupContext) -> Result<RecoveryPoint, Problem> {
    let described = handed_over(ctx.described.as_ref(), "a description of the VM")?;
    Ok(RecoveryPoint {
        id: session_of(ctx.job).into(),
        vm: described.id,
        vm_name: ctx.request.vm_name.clone(),
        taken_at: handed_over(ctx.taken_at, "the time of the snapshot")?,
        committed_at: jiff::Timestamp::now(),
        job: ctx.job,
        parent: ctx.parent.as_ref().map(|parent| parent.id),
        sequence: ctx.parent.as_ref().map_or(0, |parent| parent.sequence) + 1,
        copied_from: None,
        consistency: handed_over(ctx.consistency.clone(), "a consistency report")?,
        machine: described.machine.clone(),
        disks: std::mem::take(&mut ctx.disks),
        attachments: std::mem::take(&mut ctx.attachments),
        facts: std::mem::take(&mut ctx.facts),
        warnings: std::mem::take(&mut ctx.warnings),
        damage_seen: std::mem::take(&mut ctx.damage_seen),
    })
}
