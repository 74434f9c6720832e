//! A verification of a part of a vault: a share of its bytes that rolls on from run to run, or what
//! came since the last run. Stored bytes are compared with their public hashes, which needs no key;
//! with one, the key rings are opened, and the manifests of new recovery points are read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use tresor_backend::{Backend, ObjectMeta};
use tresor_jobs::{JobPlan, Scope, SubTask};
use tresor_model::{JobId, PointId, RecoveryPoint};
use tresor_problem::{Kind, Problem};
use tresor_vault::{
    Choice, Coverage, ErrorKind, History, Learnt, ObjectsReport, PointReport, Vault, plan_choice,
    points_among, verify_chosen,
};

use crate::{
    translate::{damage_problem, vault_problem},
    verify::VerifyOrder,
};

/// What a run has seen, also one that was cut short.
#[derive(Debug, Clone, Default)]
struct Seen {
    listed: Vec<ObjectMeta>,
    chosen: BTreeSet<String>,
    learnt: Learnt,
}

/// A partial verification's services, request and result.
pub struct PartialContext {
    backend: Arc<dyn Backend>,
    location: String,
    vault: Option<Vault>,
    choice: Choice,
    history: History,
    seen: Arc<Mutex<Seen>>,
    /// What is wrong with the key rings.
    pub keys: Vec<tresor_vault::Error>,
    /// What the objects are like.
    pub report: ObjectsReport,
    /// New recovery points whose manifests were read.
    pub points: Vec<(PointId, PointReport)>,
}

impl PartialContext {
    /// A context for a run that has not begun. `backend` is the storage itself, not copies of what
    /// is in it; `history` is what earlier runs left to know.
    #[must_use]
    pub fn new(
        backend: Arc<dyn Backend>,
        vault: Option<Vault>,
        choice: Choice,
        history: History,
    ) -> Self {
        Self {
            location: backend.properties().location,
            backend,
            vault,
            choice,
            history,
            seen: Arc::default(),
            keys: Vec::new(),
            report: ObjectsReport::default(),
            points: Vec::new(),
        }
    }

    /// Whole at every unlock: each change is one step.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the run adds to the history, also one that failed or was interrupted.
    #[must_use]
    pub fn learnt(&self) -> Learnt {
        self.seen().learnt.clone()
    }

    /// How much of the vault has been read back with this run, at `now`.
    #[must_use]
    pub fn coverage(&self, now: Timestamp) -> Coverage {
        let mut history = self.history.clone();
        let seen = self.seen();
        seen.learnt.apply(&mut history, now);
        Coverage::of(&seen.listed, &history)
    }

    /// Objects that are damaged, or that should hold what is.
    pub fn damaged_objects(&self) -> impl Iterator<Item = &str> {
        let objects = self.report.damaged.iter().map(|damaged| &damaged.object);
        let reports = self.points.iter().map(|(_, report)| report);
        let of_points = reports.flat_map(|report| &report.damaged_objects);
        objects.chain(of_points).map(String::as_str)
    }

    fn problem(&self, error: &tresor_vault::Error) -> Problem {
        vault_problem(error, &self.location)
    }

    /// The first of what is wrong.
    fn first_problem(&self) -> Option<Problem> {
        let keys = self.keys.first().map(|error| self.problem(error));
        let object = || {
            let damaged = self.report.damaged.first()?;
            let kind = Kind::VaultDamaged {
                location: self.location.clone(),
                object: damaged.object.clone(),
                reason: damaged.reason.clone(),
            };
            Some(kind.into())
        };
        let of_points = || {
            let mut damaged = self.points.iter().flat_map(|(_, report)| &report.damaged);
            damaged.next().map(damage_problem)
        };
        keys.or_else(object).or_else(of_points)
    }
}

/// The table of sub-tasks of an order that reads a part of a vault: the same as that of one that reads
/// recovery points, so that either ends what the other one left behind.
#[must_use]
pub fn plan(job: JobId, order: &VerifyOrder) -> JobPlan<PartialContext> {
    let limit = order.limit;
    order.plan(job, Box::new(ReadBack { limit }))
}

struct ReadBack {
    limit: Duration,
}

#[async_trait]
impl SubTask<PartialContext> for ReadBack {
    fn name(&self) -> &'static str {
        crate::verify::READ_BACK
    }

    fn limit(&self) -> Option<Duration> {
        Some(self.limit)
    }

    async fn run(&self, ctx: &mut PartialContext, scope: &Scope) -> Result<Value, Problem> {
        if let Some(vault) = &ctx.vault {
            let keys = vault.verify_keys().await;
            ctx.keys = keys.map_err(|error| ctx.problem(&error))?;
        }
        let read = tokio::select! {
            biased;
            () = scope.cancel().cancelled() => return Err(interrupted()),
            read = read_objects(ctx, scope) => read,
        };
        ctx.report = read.map_err(|error| ctx.problem(&error))?;
        if ctx.choice == Choice::SinceLast {
            let read = tokio::select! {
                biased;
                () = scope.cancel().cancelled() => return Err(interrupted()),
                read = read_new_points(ctx) => read,
            };
            ctx.points = read.map_err(|error| ctx.problem(&error))?;
        }
        match ctx.first_problem() {
            Some(problem) => Err(problem),
            None => Ok(json!({
                "objects": ctx.report.objects, "bytes": ctx.report.bytes,
                "marked": ctx.report.marked.len(),
            })),
        }
    }
}

async fn read_objects(
    ctx: &PartialContext,
    scope: &Scope,
) -> Result<ObjectsReport, tresor_vault::Error> {
    let choose = |listed: &[ObjectMeta]| {
        let chosen = plan_choice(ctx.choice, listed, &ctx.history, seed(scope.job()));
        *ctx.seen() = Seen {
            learnt: Learnt::from_list(listed, &ctx.history),
            listed: listed.to_vec(),
            chosen: chosen.clone(),
        };
        chosen
    };
    let good = |object: &str| ctx.seen().learnt.verified.push(object.to_owned());
    let progress = |at: tresor_vault::Progress| {
        scope.progress(at.done, Some(at.total), "stored objects");
    };
    verify_chosen(Arc::clone(&ctx.backend), choose, good, progress).await
}

/// Random enough: a job's id has 74 random bits, its last 64 among them.
fn seed(job: JobId) -> u64 {
    job.as_uuid().as_u64_pair().1
}

/// The points whose ends are among what was chosen, oldest first, each compared with the one it is
/// based on: that was looked at before, now or in an earlier run.
async fn read_new_points(
    ctx: &PartialContext,
) -> Result<Vec<(PointId, PointReport)>, tresor_vault::Error> {
    let Some(vault) = &ctx.vault else {
        return Ok(Vec::new());
    };
    let listed = vault.points().await?;
    let new = points_among(&ctx.seen().chosen);
    let mut known: BTreeMap<PointId, RecoveryPoint> = BTreeMap::new();
    let mut reports = Vec::new();
    for summary in listed.points {
        if !new.contains(&summary.id) {
            continue;
        }
        let point = vault.point(summary.id).await?;
        if let Some(parent) = point.parent
            && !known.contains_key(&parent)
        {
            match vault.point(parent).await {
                Ok(found) => drop(known.insert(parent, found)),
                // Expired, deleted, of another domain, damaged: then all nodes are read.
                Err(error) if is_about_the_point(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let base = point.parent.and_then(|parent| known.get(&parent));
        let report = vault.verify_manifests(&point, base).await?;
        reports.push((point.id, report));
        known.insert(point.id, point);
    }
    Ok(reports)
}

fn is_about_the_point(error: &tresor_vault::Error) -> bool {
    error.is_damage()
        || matches!(
            error.kind(),
            ErrorKind::PointNotFound { .. }
                | ErrorKind::PointExpired { .. }
                | ErrorKind::PointDeleted { .. }
                | ErrorKind::KeyMissing { .. }
        )
}

fn interrupted() -> Problem {
    Kind::Interrupted {
        what: "The verification".to_owned(),
    }
    .into()
}
