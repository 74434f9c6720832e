//! A verification: every chunk of recovery points read back and checked.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_jobs::{JobPlan, RecoveryPolicy, Scope, SubTask};
use tresor_model::{Extent, JobId, JobKind, PointId, StreamRecord};
use tresor_problem::{Kind, Problem};
use tresor_vault::{Error, ErrorKind, Vault};

use crate::translate::vault_problem;

/// Streams are read in windows of this many bytes, so that cancelling is quick.
const WINDOW: u64 = 256 << 20;

/// Reads of the vault that are under way at once.
const FETCHES: usize = 8;

/// Most damaged chunks that are named for one point; the rest is counted.
const NAMED: usize = 1000;

/// What was found of one recovery point.
#[derive(Debug, Clone, Default)]
pub struct PointReport {
    /// Bytes of data that were read and are right.
    pub good_bytes: u64,
    /// Pieces that cannot be read, the first [`NAMED`] of them.
    pub damage: Vec<Error>,
    /// How many there are in all.
    pub damaged: u64,
}

/// A verification's service, request and result.
pub struct VerifyContext {
    vault: Vault,
    points: Vec<PointId>,
    /// One report for each point that was read.
    pub reports: Vec<(PointId, PointReport)>,
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
        let mut first = None;
        for id in ctx.points.clone() {
            // Every point is read before the first damage is reported: the reports are whole.
            let report = match verify_point(&ctx.vault, id, scope).await? {
                Ok(report) => report,
                Err(error) => PointReport { damaged: 1, damage: vec![error], good_bytes: 0 },
            };
            first = first.or_else(|| report.damage.first().cloned());
            ctx.reports.push((id, report));
        }
        match first {
            Some(error) => Err(vault_problem(&error, ctx.vault.location())),
            None => Ok(json!({ "points": ctx.points })),
        }
    }
}

/// Reads a point's streams. The outer error ends the verification, the inner one only says that
/// this point cannot be read.
async fn verify_point(
    vault: &Vault,
    id: PointId,
    scope: &Scope,
) -> Result<Result<PointReport, Error>, Problem> {
    let point = match vault.point(id).await {
        Ok(point) => point,
        Err(error) if is_damage(&error) => return Ok(Err(error)),
        Err(error) => return Err(vault_problem(&error, vault.location())),
    };
    let disks = point.disks.iter().map(|disk| &disk.stream);
    let streams: Vec<_> = disks.chain(&point.attachments).collect();
    let total = streams.iter().map(|stream| stream.size).sum();
    let mut report = PointReport::default();
    let mut before = 0;
    for stream in streams {
        let message = format!("{} of recovery point {id}", stream.name);
        let progress = |at| scope.progress(before + at, Some(total), message.as_str());
        verify_stream(vault, stream, &mut report, scope, progress).await?;
        before += stream.size;
    }
    Ok(Ok(report))
}

async fn verify_stream(
    vault: &Vault,
    stream: &StreamRecord,
    report: &mut PointReport,
    scope: &Scope,
    progress: impl Fn(u64),
) -> Result<(), Problem> {
    let problem = |error: &Error| vault_problem(error, vault.location());
    let reader = vault.reader(stream).map_err(|error| problem(&error))?;
    let mut start = 0;
    while start < stream.size {
        let window = Extent::between(start, stream.size.min(start + WINDOW));
        let mut pieces = reader.fetch(window, FETCHES);
        loop {
            let piece = tokio::select! {
                biased;
                () = scope.cancel().cancelled() => return Err(interrupted()),
                piece = pieces.next() => piece,
            };
            match piece {
                None => break,
                Some(Ok(piece)) => report.good_bytes += piece.bytes.len() as u64,
                Some(Err(error)) if is_damage(&error) => report.add(error),
                Some(Err(error)) => return Err(problem(&error)),
            }
        }
        start = window.end();
        progress(start);
    }
    Ok(())
}

impl PointReport {
    fn add(&mut self, error: Error) {
        self.damaged += 1;
        if self.damage.len() < NAMED {
            self.damage.push(error);
        }
    }
}

fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Damaged { .. } | ErrorKind::ChunkDamaged { .. })
}

fn interrupted() -> Problem {
    Kind::Interrupted { what: "The verification".to_owned() }.into()
}
