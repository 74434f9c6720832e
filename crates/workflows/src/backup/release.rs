//! "Release snapshot": the new bitmap replaces the old one, and nothing else of ours stays.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_disk::Outcome;
use tresor_jobs::{Scope, SubTask};
use tresor_problem::Problem;

use super::{BackupContext, tag_of};

pub(super) struct ReleaseSnapshot {
    pub(super) limit: Duration,
}

#[async_trait]
impl SubTask<BackupContext> for ReleaseSnapshot {
    fn name(&self) -> &'static str {
        "Release snapshot"
    }

    fn limit(&self) -> Option<Duration> {
        Some(self.limit)
    }

    async fn run(&self, ctx: &mut BackupContext, _scope: &Scope) -> Result<Value, Problem> {
        // In a process that did not take the snapshot it is found by its tag.
        let ended = match ctx.snapshot.take() {
            Some(snapshot) => snapshot.end(Outcome::Committed).await,
            None => {
                let tag = tag_of(ctx.job);
                ctx.services
                    .provider
                    .release(&tag, Outcome::Committed)
                    .await
                    .map(|_| ())
            }
        };
        ended.map_err(|error| ctx.snapshot_problem(&error))?;
        Ok(json!({}))
    }
}
