//! Collect: the space of what no recovery point uses any more is freed.
//!
//! | sub-task | action | undo |
//! | --- | --- | --- |
//! | Free space | finish a plan that is in effect, make one, wait for sessions that began before it, move, delete | none: the next collect goes on |
//!
//! # After a crash
//! Nothing that is used is ever gone (docs/format/commit-protocol.md); the next collect, on any machine, finishes
//! the plan.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_jobs::{JobPlan, RecoveryPolicy, Scope, SubTask};
use tresor_model::{JobId, JobKind, VaultId};
use tresor_problem::{Kind, Problem};
use tresor_vault::{CollectOptions, CollectReport, CollectStep, Vault};

use crate::translate::vault_problem;

/// How long a job waits for backups that began before its plan: the next one goes on then.
const WAIT: Duration = Duration::from_secs(15 * 60);
const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// A run's vault and result.
pub struct CollectContext {
    vault: Vault,
    /// What came of it.
    pub report: CollectReport,
}

impl CollectContext {
    /// A context for a run that has not begun.
    #[must_use]
    pub fn new(vault: Vault) -> Self {
        Self {
            vault,
            report: CollectReport::default(),
        }
    }
}

/// The table of sub-tasks. `name` is the vault's.
#[must_use]
pub fn plan(job: JobId, name: &str, vault: VaultId) -> JobPlan<CollectContext> {
    JobPlan {
        id: job,
        kind: JobKind::Collect,
        subject: name.to_owned(),
        lock: Some(format!("collect:{vault}")),
        recovery: RecoveryPolicy::Unwind,
        params: json!({ "vault": name }),
        sub_tasks: vec![Box::new(FreeSpace)],
    }
}

/// The vault's name of a recorded job.
///
/// # Errors
/// `Internal` when the parameters are not those of a collect.
pub fn of_params(params: &Value) -> Result<String, Problem> {
    let vault = params["vault"].as_str().map(str::to_owned);
    vault.ok_or_else(|| {
        Kind::Internal {
            what: "The job's parameters are not those of a collect.".to_owned(),
        }
        .into()
    })
}

struct FreeSpace;

#[async_trait]
impl SubTask<CollectContext> for FreeSpace {
    fn name(&self) -> &'static str {
        "Free space"
    }

    fn limit(&self) -> Option<Duration> {
        Some(LIMIT)
    }

    async fn run(&self, ctx: &mut CollectContext, scope: &Scope) -> Result<Value, Problem> {
        let options = CollectOptions {
            wait: WAIT,
            ..CollectOptions::default()
        };
        let location = ctx.vault.location().to_owned();
        let told = |step| tell(scope, &step);
        // Dropping it is safe at any point.
        let collected = tokio::select! {
            collected = ctx.vault.collect(&options, told) => collected,
            () = scope.cancel().cancelled() => {
                let what = "The collect".to_owned();
                return Err(Kind::Interrupted { what }.into());
            }
        };
        ctx.report = collected.map_err(|error| vault_problem(&error, &location))?;
        let plans = ctx.report.resumed.iter().chain(&ctx.report.collected);
        let (packs, bytes) = plans.fold((0, 0), |(packs, bytes), plan| {
            (packs + plan.deleted_packs, bytes + plan.deleted_bytes)
        });
        Ok(json!({ "deleted_packs": packs, "deleted_bytes": bytes }))
    }
}

fn tell(scope: &Scope, step: &CollectStep) {
    let (done, total, what) = match step {
        CollectStep::Walks { done, total } => (*done, *total, "looks through recovery points"),
        CollectStep::Moves { done, total } => (*done, *total, "rewrites packs"),
        CollectStep::Deletes { done, total } => (*done, *total, "deletes packs"),
        CollectStep::Waits { .. } => (0, 0, "waits for backups that began before"),
        _ => return,
    };
    scope.progress(done, (total > 0).then_some(total), what);
}
