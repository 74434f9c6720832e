//! "Restore disks": every stream of the point, one after the other; each is read by many
//! requests at once.

use std::{sync::atomic::Ordering, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_jobs::{Scope, SubTask};
use tresor_model::StreamRecord;
use tresor_problem::Problem;
use tresor_transfer::restore::{RestoreProgress, Target, restore_stream};

use super::{RestoreContext, RestoredFile};
use crate::{translate::restore_problem, watch::watched};

pub(super) struct RestoreDisks {
    pub(super) limit: Duration,
}

#[async_trait]
impl SubTask<RestoreContext> for RestoreDisks {
    fn name(&self) -> &'static str {
        "Restore disks"
    }

    fn limit(&self) -> Option<Duration> {
        Some(self.limit)
    }

    async fn run(&self, ctx: &mut RestoreContext, scope: &Scope) -> Result<Value, Problem> {
        let targets = ctx.targets();
        let all_bytes: u64 = targets.iter().map(|(stream, _)| stream.size).sum();
        let mut before = 0;
        for (stream, target) in targets {
            let progress = RestoreProgress::default();
            let restore = restore_stream(&ctx.vault, &stream, &target, &progress, scope.cancel());
            let report = || {
                let done = before + progress.done.load(Ordering::Relaxed);
                scope.progress(done, Some(all_bytes), stream.name.to_string());
            };
            watched(restore, report)
                .await
                .map_err(|error| restore_problem(&error, ctx.vault.location()))?;
            before += stream.size;
            ctx.restored.push(restored(stream, target, &progress));
        }
        Ok(json!({ "files": ctx.restored }))
    }
}

fn restored(stream: StreamRecord, target: Target, progress: &RestoreProgress) -> RestoredFile {
    RestoredFile {
        name: stream.name,
        path: target.path,
        size: stream.size,
        written: progress.written.load(Ordering::Relaxed),
        resumed: progress.resumed.load(Ordering::Relaxed),
    }
}
