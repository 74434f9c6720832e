//! A verification: the key rings opened, every chunk of recovery points read back and checked.
//!
//! | sub-task | action | undo |
//! | --- | --- | --- |
//! | Read back | read what the order says, compare it with its hashes | none: changes nothing |

mod order;

pub use order::{VerifyOrder, VerifyWhat};

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_jobs::{JobPlan, Scope, SubTask};
use tresor_model::{JobId, PointId};
use tresor_problem::{Kind, Problem};
use tresor_vault::{PointReport, Vault};

use crate::translate::{damage_problem, vault_problem};

/// A verification's service, request and result.
pub struct VerifyContext {
    vault: Vault,
    points: Vec<PointId>,
    /// What is wrong with the key rings.
    pub keys: Vec<tresor_vault::Error>,
    /// One report for each point that was read.
    pub reports: Vec<(PointId, PointReport)>,
    /// Whether all were read, whatever was found.
    pub read_all: bool,
}

impl VerifyContext {
    /// A context for a run that has not begun.
    #[must_use]
    pub fn new(vault: Vault, points: Vec<PointId>) -> Self {
        Self {
            vault,
            points,
            keys: Vec::new(),
            reports: Vec::new(),
            read_all: false,
        }
    }
}

/// The table of sub-tasks of an order that reads recovery points.
#[must_use]
pub fn plan(job: JobId, order: &VerifyOrder) -> JobPlan<VerifyContext> {
    let limit = order.limit;
    order.plan(job, Box::new(ReadBack { limit }))
}

/// Its only sub-task, which a [partial](crate::partial) verification has as well.
pub(crate) const READ_BACK: &str = "Read back";

struct ReadBack {
    limit: Duration,
}

#[async_trait]
impl SubTask<VerifyContext> for ReadBack {
    fn name(&self) -> &'static str {
        READ_BACK
    }

    fn limit(&self) -> Option<Duration> {
        Some(self.limit)
    }

    async fn run(&self, ctx: &mut VerifyContext, scope: &Scope) -> Result<Value, Problem> {
        let location = ctx.vault.location().to_owned();
        let keys = ctx.vault.verify_keys().await;
        ctx.keys = keys.map_err(|error| vault_problem(&error, &location))?;
        let strange = ctx.keys.first();
        let mut first = strange.map(|error| vault_problem(error, &location));
        for id in ctx.points.clone() {
            // Every point is read before the first damage is reported: the reports are whole.
            match verify_point(&ctx.vault, id, scope).await {
                Ok(report) => {
                    first = first.or_else(|| report.damaged.first().map(damage_problem));
                    ctx.reports.push((id, report));
                }
                Err(problem) if problem.is("VaultDamaged") => first = first.or(Some(problem)),
                Err(problem) => return Err(problem),
            }
        }
        ctx.read_all = true;
        match first {
            Some(problem) => Err(problem),
            None => Ok(json!({ "points": ctx.points })),
        }
    }
}

async fn verify_point(vault: &Vault, id: PointId, scope: &Scope) -> Result<PointReport, Problem> {
    let progress = |at: tresor_vault::Progress| {
        scope.progress(at.done, Some(at.total), format!("recovery point {id}"));
    };
    let verified = tokio::select! {
        biased;
        () = scope.cancel().cancelled() => return Err(interrupted()),
        verified = vault.verify_point(id, progress) => verified,
    };
    verified.map_err(|error| vault_problem(&error, vault.location()))
}

fn interrupted() -> Problem {
    Kind::Interrupted {
        what: "The verification".to_owned(),
    }
    .into()
}
