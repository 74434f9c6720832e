//! Recovery of jobs whose commit is in doubt, or whose end somebody had asked for.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tresor_jobs::{
    Engine, EngineError, JobLog, JobOutcome, JobPlan, MemoryJobLog, RecoveryPolicy, Scope, Silent,
    SubTask, Tuning, testing::dead_owner,
};
use tresor_model::{JobId, JobKind, JobState};
use tresor_problem::{Kind, Problem};

/// What can be found out about the commit.
#[derive(Clone, Copy)]
enum Commit {
    TookPlace,
    DidNot,
    Unknown,
}

struct Publish;

#[async_trait]
impl SubTask<Commit> for Publish {
    fn name(&self) -> &'static str {
        "Publish"
    }
    fn commits(&self) -> bool {
        true
    }
    async fn run(&self, _: &mut Commit, _: &Scope) -> Result<Value, Problem> {
        std::future::pending().await
    }
    async fn settle(&self, commit: &mut Commit) -> Result<Option<Value>, Problem> {
        let location = "/srv/vault".to_owned();
        match commit {
            Commit::TookPlace => Ok(Some(Value::Null)),
            Commit::DidNot => Ok(None),
            Commit::Unknown => Err(Kind::VaultNotFound { location }.into()),
        }
    }
}

fn plan(id: JobId) -> JobPlan<Commit> {
    JobPlan {
        id,
        kind: JobKind::Backup,
        subject: "web01".to_owned(),
        lock: Some("vm:web01".to_owned()),
        params: Value::Null,
        recovery: RecoveryPolicy::Unwind,
        sub_tasks: vec![Box::new(Publish)],
    }
}

/// A job whose process died while it committed.
async fn interrupted() -> (Arc<dyn JobLog>, JobId) {
    let log: Arc<dyn JobLog> = Arc::new(MemoryJobLog::default());
    let id = JobId::generate();
    let dead = Engine::with(Arc::clone(&log), dead_owner(), Tuning::default());
    let (mut ctx, cancel) = (Commit::Unknown, CancellationToken::new());
    let run = dead.run(plan(id), &mut ctx, &cancel, Arc::new(Silent));
    let ended = tokio::time::timeout(std::time::Duration::from_secs(1), run).await;
    assert!(ended.is_err(), "it hangs");
    (log, id)
}

async fn recover(
    log: &Arc<dyn JobLog>,
    id: JobId,
    mut commit: Commit,
) -> Result<JobOutcome, EngineError> {
    let engine = Engine::new(Arc::clone(log));
    let cancel = CancellationToken::new();
    engine
        .recover(plan(id), &mut commit, &cancel, Arc::new(Silent))
        .await
}

#[tokio::test(start_paused = true)]
async fn a_commit_in_doubt_is_settled_before_anything_is_taken_back() {
    let cases = [
        (Commit::TookPlace, JobState::Completed),
        (Commit::DidNot, JobState::Failed),
    ];
    for (commit, end) in cases {
        let (log, id) = interrupted().await;
        let outcome = recover(&log, id, commit).await.expect("recovered");
        assert_eq!(outcome.state(), end);
    }
}

#[tokio::test(start_paused = true)]
async fn while_nobody_can_say_the_job_stays_open() {
    let (log, id) = interrupted().await;
    let engine = Engine::new(Arc::clone(&log));
    let cancel = CancellationToken::new();
    for commit in [Commit::Unknown, Commit::Unknown] {
        let mut ctx = commit;
        let observer = Arc::new(Silent);
        let refused = engine.recover(plan(id), &mut ctx, &cancel, observer).await;
        let error = refused.expect_err("nobody can say");
        assert!(matches!(error, EngineError::Undecided { .. }), "{error}");
        assert!(Problem::from(&error).is("VaultNotFound"));
        assert_eq!(engine.abandoned().await.expect("list").len(), 1);
    }
    let mut ctx = Commit::TookPlace;
    let outcome = engine
        .recover(plan(id), &mut ctx, &cancel, Arc::new(Silent))
        .await
        .expect("recovered");
    assert_eq!(outcome.state(), JobState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_wish_to_cancel_outlives_the_process() {
    let (log, id) = interrupted().await;
    log.request_cancel(id).await.expect("request");
    let outcome = recover(&log, id, Commit::DidNot).await.expect("recovered");
    assert_eq!(outcome.state(), JobState::Cancelled);
    assert!(outcome.cause().expect("a cause").is("Interrupted"));
}

#[tokio::test(start_paused = true)]
async fn what_left_nothing_behind_is_ended_by_its_record_alone() {
    let (log, id) = interrupted().await;
    let recorded = log.load(id).await.expect("load").header.job;
    let engine = Engine::new(Arc::clone(&log));
    let plan = JobPlan::<()>::nothing_to_take_back(&recorded);
    let cancel = CancellationToken::new();
    let outcome = engine
        .recover(plan, &mut (), &cancel, Arc::new(Silent))
        .await
        .expect("recovered");
    assert_eq!(outcome.state(), JobState::Failed);
    assert!(engine.abandoned().await.expect("list").is_empty());
}

/// Its process may live and never be heard of: what it began is told as left, and it has lost its lease.
#[tokio::test(start_paused = true)]
async fn a_job_that_is_out_of_reach_is_given_up_and_its_key_is_free() {
    let (log, id) = interrupted().await;
    let engine = Engine::new(Arc::clone(&log));
    let cause = || {
        let host = "node7".to_owned();
        Problem::from(Kind::HostShutOut { host })
    };
    assert!(engine.give_up(id, cause()).await.expect("given up"));
    let story = log.load(id).await.expect("a story");
    let view = story.view().expect("that can follow");
    assert_eq!(view.state, JobState::Failed);
    assert!(view.cause.expect("a cause").is("HostShutOut"));
    let left = view.sub_tasks[0].undo_problem.as_ref();
    assert!(left.expect("what may be left").is("HostShutOut"));
    assert!(!engine.give_up(id, cause()).await.expect("it has ended"));
    // The next one of the VM begins.
    let next = plan(JobId::generate()).new_job(jiff::Timestamp::now());
    log.begin(&next, &dead_owner())
        .await
        .expect("the key is free");
}
