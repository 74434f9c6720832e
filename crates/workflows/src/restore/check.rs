//! "Check target": before anything is written.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_jobs::{Scope, SubTask};
use tresor_problem::{Kind, Problem};
use tresor_transfer::restore::{Target, holder};

use super::RestoreContext;

pub(super) struct CheckTarget;

#[async_trait]
impl SubTask<RestoreContext> for CheckTarget {
    fn name(&self) -> &'static str {
        "Check target"
    }

    fn limit(&self) -> Option<Duration> {
        Some(Duration::from_secs(120))
    }

    async fn run(&self, ctx: &mut RestoreContext, _scope: &Scope) -> Result<Value, Problem> {
        let known: Vec<_> = ctx
            .point
            .disks
            .iter()
            .map(|disk| &disk.stream.name)
            .collect();
        if let Some(name) = ctx.order.only.iter().find(|name| !known.contains(name)) {
            let known: Vec<_> = known.iter().map(|name| name.as_str()).collect();
            let known = known.join(", ");
            let what = format!("The recovery point has no disk {name}; it has {known}.");
            return Err(Kind::UsageError { what }.into());
        }
        let targets = ctx.targets();
        for (_, target) in &targets {
            check(target)?;
        }
        Ok(json!({ "files": targets.len() }))
    }
}

fn check(target: &Target) -> Result<(), Problem> {
    let path = target.path.display().to_string();
    match holder(&target.path) {
        Err(error) => Err(Kind::RestoreTargetFailed {
            path,
            reason: error.to_string(),
        }
        .into()),
        Ok(Some(holder)) => Err(Kind::RestoreTargetInUse { path, holder }.into()),
        Ok(None) if !target.overwrite && target.path.exists() => {
            Err(Kind::RestoreTargetExists { path }.into())
        }
        Ok(None) => Ok(()),
    }
}
