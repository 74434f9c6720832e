//! A copy: recovery points of one vault, in another one too.
//!
//! Points that are damaged are left out, and named; the others are copied. What a job that was cut
//! off has sent is in the other vault, and not sent again by the next one.
//!
//! | sub-task | action | undo |
//! | --- | --- | --- |
//! | Copy recovery points | each point for itself: read, store what is not there, commit | none: points that were copied stay |

mod order;

pub use order::CopyOrder;
pub use tresor_model::CopyReadBack;

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_jobs::{JobPlan, RecoveryPolicy, Scope, SubTask};
use tresor_model::{JobId, JobKind, PointId, RecoveryPoint, SessionId};
use tresor_problem::{Kind, Problem};
use tresor_vault::{
    Base, CopyOptions, CopyStats, PlannedCopy, PointSummary, ReadBack, SessionOptions, Vault,
    copy_point,
};

use crate::translate::vault_problem;

/// What is wanted.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// The points, in their order.
    pub planned: Vec<PlannedCopy>,
    /// The points that the other vault has now.
    pub there: Vec<PointSummary>,
    /// How much is read back from the other vault.
    pub read_back: ReadBack,
    /// Where this machine keeps what it knows of the other vault's index.
    pub index_cache: Option<std::path::PathBuf>,
}

/// A point that was copied.
#[derive(Debug, Clone)]
pub struct CopiedPoint {
    /// In the vault that was read.
    pub from: PointId,
    /// In the other one.
    pub copy: RecoveryPoint,
    /// What was moved.
    pub stats: CopyStats,
}

/// A copy's services, request and result.
pub struct CopyContext {
    source: Vault,
    target: Vault,
    request: CopyRequest,
    /// What was copied.
    pub copied: Vec<CopiedPoint>,
}

impl CopyContext {
    /// A context for a run that has not begun.
    #[must_use]
    pub fn new(source: Vault, target: Vault, request: CopyRequest) -> Self {
        Self {
            source,
            target,
            request,
            copied: Vec::new(),
        }
    }

    /// The point to copy over, if both vaults can still give it.
    async fn base(&self, here: Option<PointId>, there: &HashMap<Origin, PointId>) -> Option<Base> {
        let here = self.source.point(here?).await.ok()?;
        let origin = here.copied_from.map(|from| (from.vault, from.point));
        let origin = origin.unwrap_or((self.source.id(), here.id));
        let there = self.target.point(*there.get(&origin)?).await.ok()?;
        Some(Base { here, there })
    }
}

type Origin = (tresor_model::VaultId, PointId);

/// The table of sub-tasks.
#[must_use]
pub fn plan(job: JobId, order: &CopyOrder) -> JobPlan<CopyContext> {
    JobPlan {
        id: job,
        kind: JobKind::Copy,
        subject: order.subject(),
        lock: Some(order.lock()),
        recovery: RecoveryPolicy::Unwind,
        // Strings, numbers and lists of them: nothing that JSON refuses.
        params: serde_json::to_value(order).unwrap_or_default(),
        sub_tasks: vec![Box::new(CopyPoints { limit: order.limit })],
    }
}

struct CopyPoints {
    limit: Duration,
}

#[async_trait]
impl SubTask<CopyContext> for CopyPoints {
    fn name(&self) -> &'static str {
        "Copy recovery points"
    }

    fn limit(&self) -> Option<Duration> {
        Some(self.limit)
    }

    async fn run(&self, ctx: &mut CopyContext, scope: &Scope) -> Result<Value, Problem> {
        let to = ctx.target.id();
        let mut there: HashMap<Origin, PointId> = HashMap::new();
        there.extend(
            ctx.request
                .there
                .iter()
                .map(|point| (point.origin(to), point.id)),
        );
        let planned = ctx.request.planned.clone();
        let total = planned.iter().map(|copy| copy.point.size).sum();
        let (mut first, mut before) = (None, 0);
        for copy in planned {
            let base = ctx.base(copy.base, &there).await;
            match copy_one(ctx, &copy.point, base.as_ref(), scope, (before, total)).await {
                Ok(copied) => {
                    let from = ctx.source.id();
                    there.insert(copy.point.origin(from), copied.copy.id);
                    ctx.copied.push(copied);
                }
                // The others are not the worse for it.
                Err(problem) if problem.is("ChunkDamaged") || problem.is("VaultDamaged") => {
                    scope.warn(problem.clone());
                    first = first.or(Some(problem));
                }
                Err(problem) => return Err(problem),
            }
            before += copy.point.size;
        }
        match first {
            Some(problem) => Err(problem),
            None => Ok(json!({ "copied": ctx.copied.len() })),
        }
    }
}

async fn copy_one(
    ctx: &CopyContext,
    point: &PointSummary,
    base: Option<&Base>,
    scope: &Scope,
    (before, total): (u64, u64),
) -> Result<CopiedPoint, Problem> {
    let (source, target) = (&ctx.source, &ctx.target);
    let read = source.point(point.id).await;
    let read = read.map_err(|error| vault_problem(&error, source.location()))?;
    let id = SessionId::generate();
    let mut session = SessionOptions::new(id);
    session.index_cache.clone_from(&ctx.request.index_cache);
    session.base = base.map(|base| base.there.id);
    let options = CopyOptions {
        session,
        read_back: ctx.request.read_back,
    };
    let mut done = before;
    let message = format!("{} of {}", point.vm_name, point.taken_at);
    let progress = |bytes: u64| {
        done = (done + bytes).min(before + point.size);
        scope.progress(done, Some(total), message.clone());
    };
    let copied = tokio::select! {
        biased;
        () = scope.cancel().cancelled() => Err(interrupted()),
        copied = copy_point(source, target, &read, base, options, progress) => {
            copied.map_err(|error| vault_problem(&error, source.location()))
        }
    };
    match copied {
        Ok((copy, stats)) => Ok(CopiedPoint {
            from: point.id,
            copy,
            stats,
        }),
        Err(problem) => {
            // Whoever looks at the vault shall not take it for one that is still written. When that
            // cannot be said now, the session is one of a writer that died.
            let _left_open = target.abort_session(id).await.is_err();
            Err(problem)
        }
    }
}

fn interrupted() -> Problem {
    Kind::Interrupted {
        what: "The copy".to_owned(),
    }
    .into()
}
