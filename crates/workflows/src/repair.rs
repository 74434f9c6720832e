//! A repair: what a vault has lost is put back from copies in other vaults.
//!
//! | sub-task | action | undo |
//! | --- | --- | --- |
//! | Find what is lost | all points by their manifests, and the marks that verifying left | none: changes nothing |
//! | Put back | stream by stream, from the first copy that has the bytes | none: what is back is back |
//! | Find what is left | the same as the first | none |

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Value, json};
use tresor_jobs::{JobPlan, RecoveryPolicy, Scope, SubTask};
use tresor_model::{JobId, JobKind, PointId, RecoveryPoint, SessionId, StreamName, StreamRecord};
use tresor_problem::{Kind, Problem};
use tresor_vault::{Copies, Heal, Losses, RepairTask, Repaired, SessionOptions, Vault};

use crate::translate::vault_problem;

/// Finds the copies of a recovery point.
pub type FindCopies = dyn Fn(&RecoveryPoint) -> Arc<dyn Copies> + Send + Sync;

/// A disk or attachment of a recovery point that cannot be read whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Affected {
    /// The point.
    pub point: PointId,
    /// Name of its VM.
    pub vm: String,
    /// When it was taken.
    pub taken_at: jiff::Timestamp,
    /// The disk or attachment.
    pub disk: StreamName,
    /// Bytes of it that cannot be read.
    pub bytes: u64,
    /// Objects that are damaged or missing.
    pub objects: Vec<String>,
}

struct Lost {
    point: RecoveryPoint,
    stream: StreamRecord,
    losses: Losses,
}

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
        let (lost, heal) = find(ctx, scope).await?;
        ctx.before = lost.iter().map(affected).collect();
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
        let (lost, _) = find(ctx, scope).await?;
        ctx.after = lost.iter().map(affected).collect();
        Ok(json!({ "affected": ctx.after }))
    }
}

/// Looks at all points by their manifests.
async fn find(ctx: &RepairContext, scope: &Scope) -> Result<(Vec<Lost>, Heal), Problem> {
    let vault = &ctx.vault;
    let points = vault.points().await.map_err(|error| ctx.problem(&error))?;
    let mut survey = vault.survey().await.map_err(|error| ctx.problem(&error))?;
    let total = points.points.len() as u64;
    let mut all = Vec::new();
    for (number, summary) in (0..).zip(&points.points) {
        if scope.cancel().is_cancelled() {
            return Err(interrupted());
        }
        scope.progress(
            number,
            Some(total),
            format!("recovery point {}", summary.id),
        );
        let point = vault.point(summary.id).await;
        let point = point.map_err(|error| ctx.problem(&error))?;
        let disks = point.disks.iter().map(|disk| &disk.stream);
        for stream in disks.chain(&point.attachments) {
            let losses = survey.stream(stream).await;
            let losses = losses.map_err(|error| ctx.problem(&error))?;
            if losses.bytes() > 0 {
                all.push(Lost {
                    point: point.clone(),
                    stream: stream.clone(),
                    losses,
                });
            }
        }
    }
    Ok((all, survey.heal_nodes()))
}

fn affected(lost: &Lost) -> Affected {
    Affected {
        point: lost.point.id,
        vm: lost.point.vm_name.clone(),
        taken_at: lost.point.taken_at,
        disk: lost.stream.name.clone(),
        bytes: lost.losses.bytes(),
        objects: lost.losses.objects.clone(),
    }
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
