//! Jobs that wait, taken up by the engine.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of test functions"
)]

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tresor_jobs::{
    Engine, EngineError, JobLog, JobOutcome, JobPlan, JobQueue, LogErrorKind, MemoryJobLog, NewJob,
    Owner, RecoveryPolicy, Scope, Silent, SubTask, Ticket,
};
use tresor_model::{JobId, JobKind, JobState};
use tresor_problem::{Kind, Problem};

const LANE: &str = "host:a";

/// Counts how often it ran.
struct Counts;

#[async_trait]
impl SubTask<u32> for Counts {
    fn name(&self) -> &'static str {
        "Count"
    }
    async fn run(&self, count: &mut u32, _: &Scope) -> Result<Value, Problem> {
        *count += 1;
        Ok(Value::Null)
    }
}

fn plan(id: JobId) -> JobPlan<u32> {
    JobPlan {
        id,
        kind: JobKind::Backup,
        subject: "web01".to_owned(),
        lock: Some("vm:web01".to_owned()),
        params: Value::Null,
        recovery: RecoveryPolicy::Unwind,
        sub_tasks: vec![Box::new(Counts)],
    }
}

/// An engine, its log, and a job that waits in it.
async fn waiting() -> (Engine, Arc<MemoryJobLog>, JobId) {
    let log = Arc::new(MemoryJobLog::default());
    let id = JobId::generate();
    let job = plan(id).new_job(Timestamp::now());
    let ticket = Ticket {
        lane: LANE.to_owned(),
        not_before: job.created_at,
        rank: 0,
    };
    log.enqueue(&job, &ticket).await.unwrap();
    (Engine::new(log.clone() as Arc<dyn JobLog>), log, id)
}

async fn take_up(
    engine: &Engine,
    log: &MemoryJobLog,
    plan: JobPlan<u32>,
) -> (Result<JobOutcome, EngineError>, u32) {
    let (mut count, cancel) = (0, CancellationToken::new());
    let done = engine.take_up(log, plan, &mut count, &cancel, Arc::new(Silent));
    (done.await, count)
}

async fn due(log: &MemoryJobLog) -> usize {
    log.due(LANE, Timestamp::now(), 10).await.unwrap().len()
}

#[tokio::test]
async fn a_job_that_waits_is_nobodys_and_runs_once() {
    let (engine, log, id) = waiting().await;
    assert!(engine.abandoned().await.unwrap().is_empty());
    let (done, count) = take_up(&engine, &log, plan(id)).await;
    let done = done.unwrap();
    assert_eq!((done.state(), count), (JobState::Completed, 1));
    assert_eq!(due(&log).await, 0);
    let (again, count) = take_up(&engine, &log, plan(id)).await;
    let Err(EngineError::Log(error)) = again else {
        panic!("it has ended")
    };
    assert_eq!((error.kind, count), (LogErrorKind::LeaseLost, 0));
}

#[tokio::test]
async fn a_job_waits_for_the_one_that_holds_its_key() {
    let (engine, log, id) = waiting().await;
    let holder = NewJob {
        id: JobId::generate(),
        ..log.load(id).await.unwrap().header.job
    };
    let owner = Owner::current();
    log.begin(&holder, &owner).await.unwrap();
    let (refused, count) = take_up(&engine, &log, plan(id)).await;
    let Err(EngineError::Log(error)) = refused else {
        panic!("the key is held")
    };
    let busy = LogErrorKind::Busy { holder: holder.id };
    assert_eq!((error.kind, count, due(&log).await), (busy, 0, 1));
}

#[tokio::test]
async fn one_whose_end_was_asked_for_does_nothing() {
    let (engine, log, id) = waiting().await;
    log.request_cancel(id).await.unwrap();
    let (done, count) = take_up(&engine, &log, plan(id)).await;
    assert_eq!((done.unwrap().state(), count), (JobState::Cancelled, 0));
}

#[tokio::test]
async fn another_table_than_was_recorded_is_refused() {
    let (engine, log, id) = waiting().await;
    let mut other = plan(id);
    other.sub_tasks.clear();
    let (refused, _) = take_up(&engine, &log, other).await;
    assert!(matches!(refused, Err(EngineError::Plan { .. })));
    assert_eq!(due(&log).await, 1, "it goes on waiting");
}

#[tokio::test]
async fn a_job_that_cannot_be_begun_ends_with_its_cause() {
    let (engine, log, id) = waiting().await;
    let cause: Problem = Kind::VaultNotFound {
        location: "/srv/vault".to_owned(),
    }
    .into();
    let refused = engine.refuse(&*log, id, cause.clone()).await.unwrap();
    assert_eq!(refused.state(), JobState::Failed);
    assert_eq!(refused.cause(), Some(&cause));
    let story = log.load(id).await.unwrap();
    let view = story.view().unwrap();
    assert!(view.sub_tasks.iter().all(|task| task.started_at.is_none()));
    assert!(view.ended_at.is_some());
    assert_eq!(due(&log).await, 0);
}
