//! A verification: every chunk of recovery points read back and checked.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_jobs::{JobPlan, RecoveryPolicy, Scope, SubTask};
use tresor_model::{JobId, JobKind, PointId};
use tresor_problem::{Kind, Problem};
use tresor_vault::{Error, Vault};

use crate::translate::vault_problem;

/// A verification's service, request and result.
pub struct VerifyContext {
    vault: Vault,
    points: Vec<PointId>,
    /// What was found, once it is done: one report for each point.
    pub reports: Vec<(PointId, VerifyReport)>,
}

impl VerifyContext {
    /// A context for a run that has not begun.
    #[must_use]
    pub fn new(vault: Vault, points: Vec<PointId>) -> Self {
        Self { vault, points, reports: Vec::new() }
    }
}

/// The table of sub-tasks.
#[must_use]
pub fn plan(job: JobId, points: &[PointId], location: &str) -> JobPlan<VerifyContext> {
    JobPlan {
        id: job,
        kind: JobKind::Verify,
        subject: location.to_owned(),
        lock: None,
        recovery: RecoveryPolicy::default(),
        params: json!({ "points": points }),
        sub_tasks: vec![Box::new(ReadBack)],
    }
}

fn interrupted() -> Problem {
    Kind::Interrupted { what: "The verification".to_owned() }.into()
}

struct ReadBack;

#[async_trait]
impl SubTask<VerifyContext> for ReadBack {
    fn name(&self) -> &'static str {
        "Read back"
    }

    fn limit(&self) -> Option<Duration> {
        Some(Duration::from_secs(7 * 24 * 3600))
    }

    async fn run(&self, ctx: &mut VerifyContext, scope: &Scope) -> Result<Value, Problem> {
        let count = ctx.points.len() as u64;
        let mut first = None;
        for (at, id) in (0..).zip(ctx.points.clone()) {
            scope.progress(at, Some(count), format!("recovery point {id}"));
            let report = tokio::select! {
                biased;
                () = scope.cancel().cancelled() => return Err(interrupted()),
                report = ctx.vault.verify_point(id) => report,
            };
            let report =
                report.map_err(|error| vault_problem(&error, ctx.vault.location()))?;
            // Every point is read before the first damage is reported: the report is whole.
            first = first.or_else(|| report.damage.first().map(damage_problem));
            ctx.reports.push((id, report));
        }
        scope.progress(count, Some(count), "all recovery points");
        match first {
            Some(problem) => Err(problem),
            None => Ok(json!({ "points": count })),
        }
    }
}
