//! A repair: what a vault has lost is put back from copies in other vaults.
//!
//! | sub-task | action | undo |
//! | --- | --- | --- |
//! | Find what is lost | all points by their manifests, and the marks that verifying left | none: changes nothing |
//! | Put back | stream by stream, from the first copy that has the bytes | none: what is back is back |
//! | Find what is left | the same as the first | none |

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_jobs::{JobPlan, RecoveryPolicy, Scope, SubTask};
use tresor_model::{JobId, JobKind, RecoveryPoint, SessionId};
use tresor_problem::{Kind, Problem};
use tresor_vault::{Copies, Heal, RepairTask, Repaired, SessionOptions, Vault};

pub use crate::affected::Affected;
use crate::{
    affected::{self, Lost},
    translate::vault_problem,
};

/// Finds the copies of a recovery point.
pub type FindCopies = dyn Fn(&RecoveryPoint) -> Arc<dyn Copies> + Send + Sync;

/// A repair's services and result.
pub struct RepairContext {
    vault: Vault,
    copies: Box<FindCopies>,
    lost: Vec<Lost>,
    heal: Heal,
    /// What cannot be read before the repair.
    pub before: Vec<Affected>,
    /// What cannot be read after it.
    pub after: Vec<Affected>,
    /// What was stored.
    pub repaired: Repaired,
}

impl RepairContext {
    /// A context for a run that has not begun.
    #[must_use]
    pub fn new(vault: Vault, copies: Box<FindCopies>) -> Self {
        Self {
            vault,
            copies,
            lost: Vec::new(),
            heal: Heal::default(),
            before: Vec::new(),
            after: Vec::new(),
            repaired: Repaired::default(),
        }
    }

    fn problem(&self, error: &tresor_vault::Error) -> Problem {
        vault_problem(error, self.vault.location())
    }
}

/// The table of sub-tasks; one that only looks ends after the first.
#[must_use]
pub fn plan(job: JobId, vault: &Vault, only_look: bool) -> JobPlan<RepairContext> {
    let mut sub_tasks: Vec<Box<dyn SubTask<RepairContext>>> = vec![Box::new(FindLost)];
    if !only_look {
        sub_tasks.push(Box::new(PutBack));
        sub_tasks.push(Box::new(FindLeft));
    }
    JobPlan {
        id: job,
        kind: JobKind::Repair,
        subject: vault.location().to_owned(),
        lock: Some(lock_of(vault)),
        recovery: RecoveryPolicy::Unwind,
        params: json!({ "only_look": only_look }),
        sub_tasks,
    }
}

/// What repairs of a vault exclude each other by.
#[must_use]
pub fn lock_of(vault: &Vault) -> String {
    format!("repair:{}", vault.id())
}

const LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);

struct FindLost;

#[async_trait]
impl SubTask<RepairContext> for FindLost {
    fn name(&self) -> &'static str {
        "Find what is lost"
    }

    fn limit(&self) -> Option<Duration> {
        Some(LIMIT)
    }

    async fn run(&self, ctx: &mut RepairContext, scope: &Scope) -> Result<Value, Problem> {
        let (lost, heal) = find_lost(ctx, scope).await?;
        ctx.before = lost.iter().map(Lost::affected).collect();
        (ctx.lost, ctx.heal) = (lost, heal);
        Ok(json!({ "affected": ctx.before }))
    }
}

struct FindLeft;

#[async_trait]
impl SubTask<RepairContext> for FindLeft {
    fn name(&self) -> &'static str {
        "Find what is left"
    }

    fn limit(&self) -> Option<Duration> {
        Some(LIMIT)
    }

    async fn run(&self, ctx: &mut RepairContext, scope: &Scope) -> Result<Value, Problem> {
        let (lost, _) = find_lost(ctx, scope).await?;
        ctx.after = lost.iter().map(Lost::affected).collect();
        Ok(json!({ "affected": ctx.after }))
    }
}

async fn find_lost(ctx: &RepairContext, scope: &Scope) -> Result<(Vec<Lost>, Heal), Problem> {
    affected::find(&ctx.vault, [], scope, interrupted).await
}

struct PutBack;

#[async_trait]
impl SubTask<RepairContext> for PutBack {
    fn name(&self) -> &'static str {
        "Put back"
    }

    fn limit(&self) -> Option<Duration> {
        Some(LIMIT)
    }

    async fn run(&self, ctx: &mut RepairContext, scope: &Scope) -> Result<Value, Problem> {
        let lost = std::mem::take(&mut ctx.lost);
        if lost.is_empty() {
            return Ok(json!({ "repaired": 0 }));
        }
        let options = SessionOptions::new(SessionId::generate());
        let session = ctx.vault.begin_repair(options, ctx.heal.clone()).await;
        let session = session.map_err(|error| ctx.problem(&error))?;
        let total = lost.iter().map(|lost| lost.losses.bytes()).sum();
        let mut before = 0;
        for lost in &lost {
            let copies = (ctx.copies)(&lost.point);
            let Some((copy, place)) = copies.stream(&lost.stream.name).await else {
                scope.warn(format!(
                    "no copy of recovery point {} has {}",
                    lost.point.id, lost.stream.name
                ));
                before += lost.losses.bytes();
                continue;
            };
            let mut done = before;
            let message = format!("{} of {}", lost.stream.name, lost.point.vm_name);
            let progress = |bytes: u64| {
                done += bytes;
                scope.progress(done, Some(total), message.clone());
            };
            let task = RepairTask {
                stream: &lost.stream,
                losses: &lost.losses,
                copy,
            };
            let repaired = tokio::select! {
                biased;
                () = scope.cancel().cancelled() => return Err(interrupted()),
                repaired = session.repair_stream(task, progress) => repaired,
            };
            match repaired {
                Ok(more) => ctx.repaired = ctx.repaired.plus(&more),
                Err(error) if error.is_damage() => {
                    scope.warn(vault_problem(&error, &place));
                }
                Err(error) => return Err(ctx.problem(&error)),
            }
            before += lost.losses.bytes();
        }
        session
            .finish_repair()
            .await
            .map_err(|error| ctx.problem(&error))?;
        Ok(json!({ "repaired": lost.len() }))
    }
}

fn interrupted() -> Problem {
    Kind::Interrupted {
        what: "The repair".to_owned(),
    }
    .into()
}
