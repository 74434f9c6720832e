//! "Release snapshot": the new bitmap replaces the old one, and nothing else of ours stays.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_disk::Outcome;
use tresor_jobs::{Scope, SubTask};
use tresor_problem::Problem;

use super::{BackupContext, context::handed_over};

pub(super) struct ReleaseSnapshot;

#[async_trait]
impl SubTask<BackupContext> for ReleaseSnapshot {
    fn name(&self) -> &'static str {
        "Release snapshot"
    }

    fn limit(&self) -> Option<Duration> {
        Some(Duration::from_secs(120))
    }

    async fn run(&self, ctx: &mut BackupContext, scope: &Scope) -> Result<Value, Problem> {
        let snapshot = handed_over(ctx.snapshot.take(), "a snapshot")?;
        // The point is durable: what is left behind now is for the next backup to clear.
        if let Err(error) = snapshot.end(Outcome::Committed).await {
            scope.warn(ctx.snapshot_problem(&error).to_string());
        }
        Ok(json!({}))
    }

    async fn undo(&self, _ctx: &mut BackupContext, _out: Option<&Value>) -> Result<(), Problem> {
        Ok(()) // Prepare's undo ends the snapshot, whatever is left of it
    }
}
