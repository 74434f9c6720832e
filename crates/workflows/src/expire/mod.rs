//! Retention: recovery points that the rules do not keep are removed.
//!
//! | sub-task | action | undo |
//! | --- | --- | --- |
//! | Decide what goes | list the points, apply the rules; the newest of a VM, for whose sake others go, is looked through | none: changes nothing |
//! | Remove recovery points | delete what goes, to be brought back within the grace; end for good what was deleted so long ago | none: each for itself |
//!
//! # After a crash
//! What was removed is removed; the next run makes a new plan and goes on.

mod plan;

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use tresor_jobs::{JobPlan, RecoveryPolicy, Scope, SubTask};
use tresor_model::{JobId, JobKind, PointId};
use tresor_problem::{Kind, Problem};
use tresor_vault::{PointList, Vault};

use crate::translate::vault_problem;
pub use plan::{Plan, Request, grace};

const DECIDE_LIMIT: Duration = Duration::from_secs(3600);
const REMOVE_LIMIT: Duration = Duration::from_secs(3600);

/// A run's vault, request and result.
pub struct ExpireContext {
    vault: Vault,
    request: Request,
    plan: Option<Plan>,
    /// What was removed.
    pub removed: Vec<PointId>,
}

impl ExpireContext {
    /// A context for a run that has not begun.
    #[must_use]
    pub fn new(vault: Vault, request: Request) -> Self {
        Self {
            vault,
            request,
            plan: None,
            removed: Vec::new(),
        }
    }
}

/// The table of sub-tasks. `vault` is the vault's name.
#[must_use]
pub fn plan(job: JobId, vault: &str, request: &Request) -> JobPlan<ExpireContext> {
    JobPlan {
        id: job,
        kind: JobKind::Expire,
        subject: vault.to_owned(),
        lock: Some(format!("expire:{}", request.vault)),
        recovery: RecoveryPolicy::Unwind,
        params: json!({ "vault": vault, "request": request }),
        sub_tasks: vec![Box::new(Decide), Box::new(Remove)],
    }
}

/// The vault's name and the request of a recorded job.
///
/// # Errors
/// `Internal` when the parameters are not those of an expiry.
pub fn of_params(params: &Value) -> Result<(String, Request), Problem> {
    let request = serde_json::from_value(params["request"].clone());
    let vault = params["vault"].as_str().map(str::to_owned);
    match (vault, request) {
        (Some(vault), Ok(request)) => Ok((vault, request)),
        _ => Err(Kind::Internal {
            what: "The job's parameters are not those of an expiry.".to_owned(),
        }
        .into()),
    }
}

/// The plan, made again until no VM's newest point, for whose sake others go, has lost something: the
/// newest that is whole takes its place. `tell` hears of those that have.
///
/// # Errors
/// What making a plan and reading the vault say.
pub async fn sound_plan(
    request: Request,
    vault: &Vault,
    list: &PointList,
    mut tell: impl FnMut(PointId),
) -> Result<Plan, Problem> {
    let now = Timestamp::now();
    let (mut lost, mut whole) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let plan = Plan::make(request.clone(), list, &lost, now)?;
        let mut relied_on = plan.relied_on();
        relied_on.retain(|point| !whole.contains(point));
        if relied_on.is_empty() {
            return Ok(plan);
        }
        for point in relied_on {
            let is_lost = vault.is_lost(point).await;
            if is_lost.map_err(|error| vault_problem(&error, vault.location()))? {
                tell(point);
                lost.insert(point);
            } else {
                whole.insert(point);
            }
        }
    }
}

/// Removes what the plan says, each point for itself: after an interruption the next run goes on.
///
/// # Errors
/// What the vault says.
pub async fn apply(vault: &Vault, plan: &Plan) -> Result<Vec<PointId>, Problem> {
    let grace = grace(&plan.request.grace)?;
    let mut done = Vec::new();
    for (point, for_good) in plan.removals() {
        let removed = if for_good || grace.is_zero() {
            vault.expire(point).await
        } else {
            vault.delete_point(point, grace).await
        };
        removed.map_err(|error| vault_problem(&error, vault.location()))?;
        done.push(point);
    }
    Ok(done)
}

struct Decide;

#[async_trait]
impl SubTask<ExpireContext> for Decide {
    fn name(&self) -> &'static str {
        "Decide what goes"
    }

    fn limit(&self) -> Option<Duration> {
        Some(DECIDE_LIMIT)
    }

    async fn run(&self, ctx: &mut ExpireContext, scope: &Scope) -> Result<Value, Problem> {
        let list = ctx.vault.points().await;
        let list = list.map_err(|error| vault_problem(&error, ctx.vault.location()))?;
        let request = ctx.request.clone();
        let plan = sound_plan(request, &ctx.vault, &list, |point| {
            scope.warn(format!(
                "Recovery point {point} has lost data, so older points stay for it."
            ));
        });
        let plan = plan.await?;
        let removals = plan.removals().len();
        let told = json!({
            "plan": plan.id, "keep": plan.decisions.len() - removals, "remove": removals,
        });
        ctx.plan = Some(plan);
        Ok(told)
    }
}

struct Remove;

#[async_trait]
impl SubTask<ExpireContext> for Remove {
    fn name(&self) -> &'static str {
        "Remove recovery points"
    }

    fn limit(&self) -> Option<Duration> {
        Some(REMOVE_LIMIT)
    }

    async fn run(&self, ctx: &mut ExpireContext, _: &Scope) -> Result<Value, Problem> {
        if let Some(plan) = ctx.plan.take() {
            ctx.removed = apply(&ctx.vault, &plan).await?;
        }
        Ok(json!({ "removed": ctx.removed }))
    }
}
