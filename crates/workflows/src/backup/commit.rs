//! "Commit recovery point": from here on the backup happened.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_jobs::{Scope, SubTask};
use tresor_model::{DiskStats, RecoveryPoint};
use tresor_problem::Problem;
use tresor_vault::Ended;

use super::{BackupContext, context::handed_over, session_of};
use crate::translate::doubt_problem;

pub(super) struct Commit {
    pub(super) limit: Duration,
}

#[async_trait]
impl SubTask<BackupContext> for Commit {
    fn name(&self) -> &'static str {
        "Commit recovery point"
    }

    fn limit(&self) -> Option<Duration> {
        Some(self.limit)
    }

    async fn run(&self, ctx: &mut BackupContext, scope: &Scope) -> Result<Value, Problem> {
        let writer = handed_over(ctx.writer.take(), "a vault session")?;
        for doubt in writer.doubts() {
            let problem = doubt_problem(&doubt, ctx.services.vault.location());
            ctx.warn_of(scope, problem);
        }
        let point = assemble(ctx)?;
        let committed = writer.commit(point.clone()).await;
        committed.map_err(|error| ctx.vault_problem(&error))?;
        let output = told(&point);
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
                let output = told(&point);
                ctx.point = Some(point);
                Ok(Some(output))
            }
            Ended::AbortedNow | Ended::WasAborted => Ok(None),
        }
    }
}

/// What the job's story has of its point.
fn told(point: &RecoveryPoint) -> Value {
    let disks = point.disks.iter();
    let sum = disks.fold(DiskStats::default(), |sum, disk| sum.plus(&disk.stats));
    json!({
        "point": point.id, "taken_at": point.taken_at, "consistency": point.consistency.achieved,
        "read": sum.read, "stored": sum.stored,
    })
}

fn assemble(ctx: &mut BackupContext) -> Result<RecoveryPoint, Problem> {
    let described = handed_over(ctx.described.as_ref(), "a description of the VM")?;
    let now = jiff::Timestamp::now();
    let last = ctx.parent.as_ref().map(|parent| parent.sequence);
    let base = ctx.parent.as_ref().filter(|_| !ctx.is_elsewhere);
    Ok(RecoveryPoint {
        id: session_of(ctx.job).into(),
        vm: described.id,
        vm_name: ctx.request.order.vm_name.clone(),
        taken_at: handed_over(ctx.taken_at, "the time of the snapshot")?,
        committed_at: now,
        job: ctx.job,
        parent: base.map(|parent| parent.id),
        sequence: next_sequence(last, ctx.services.vault.has_all_domains(), now),
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

/// The number of the next point, after that of the last one that is seen. Who sees all points of the
/// VM counts. Who has one domain only may not see the newest, which was made in another one, and must
/// come after it all the same: what it has is the clock.
fn next_sequence(last: Option<u64>, sees_all: bool, now: jiff::Timestamp) -> u64 {
    let counted = last.unwrap_or(0) + 1;
    if sees_all {
        return counted;
    }
    counted.max(u64::try_from(now.as_second()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_comes_after_those_that_are_not_seen() {
        let cases = [
            (None, true, 1_000, 1),
            (Some(7), true, 1_000, 8),
            (Some(2_000), true, 1_000, 2_001),
            (None, false, 1_000, 1_000),
            (Some(7), false, 1_000, 1_000),
            // A clock that went back.
            (Some(2_000), false, 1_000, 2_001),
            (None, false, -5, 1),
        ];
        for (last, sees_all, second, expected) in cases {
            let now = jiff::Timestamp::from_second(second).expect("a time");
            assert_eq!(next_sequence(last, sees_all, now), expected, "{last:?}");
        }
    }
}
