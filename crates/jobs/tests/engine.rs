//! What the engine does with actions that misbehave, and with wishes from outside.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of test functions"
)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tresor_jobs::{
    Engine, EngineError, JobEvent, JobFilter, JobHeader, JobLog, JobOutcome, JobPlan, JobStory,
    Lease, LogError, LogErrorKind, MemoryJobLog, NewJob, Owner, Progress, RecordedEvent,
    RecoveryPolicy, Scope, Silent, SubTask, testing::dead_owner,
};
use tresor_model::{JobId, JobKind, JobState, SubTaskState};
use tresor_problem::{Kind, Problem};

type Calls = Arc<Mutex<Vec<String>>>;
type Action = fn(&Scope) -> BoxFuture<'_, Result<Value, Problem>>;

/// A row whose action is given, and that notes every call.
struct Row {
    name: &'static str,
    limit: Option<Duration>,
    commits: bool,
    action: Action,
    undo_fails: bool,
}

fn row(name: &'static str, action: Action) -> Row {
    Row {
        name,
        limit: None,
        commits: false,
        action,
        undo_fails: false,
    }
}

#[async_trait]
impl SubTask<Calls> for Row {
    fn name(&self) -> &'static str {
        self.name
    }
    fn limit(&self) -> Option<Duration> {
        self.limit
    }
    fn commits(&self) -> bool {
        self.commits
    }
    async fn run(&self, calls: &mut Calls, scope: &Scope) -> Result<Value, Problem> {
        calls.lock().unwrap().push(format!("run {}", self.name));
        (self.action)(scope).await
    }
    async fn undo(&self, calls: &mut Calls, _: Option<&Value>) -> Result<(), Problem> {
        calls.lock().unwrap().push(format!("undo {}", self.name));
        if self.undo_fails {
            return Err(defect("undo").into());
        }
        Ok(())
    }
}

fn defect(what: &str) -> Kind {
    Kind::Internal {
        what: what.to_owned(),
    }
}

fn works(_: &Scope) -> BoxFuture<'_, Result<Value, Problem>> {
    Box::pin(async { Ok(Value::Null) })
}
fn fails(_: &Scope) -> BoxFuture<'_, Result<Value, Problem>> {
    Box::pin(async { Err(defect("first").into()) })
}
fn hangs(_: &Scope) -> BoxFuture<'_, Result<Value, Problem>> {
    Box::pin(std::future::pending())
}
fn waits_for_cancel(scope: &Scope) -> BoxFuture<'_, Result<Value, Problem>> {
    Box::pin(async {
        scope.cancel().cancelled().await;
        Err(defect("told to end").into())
    })
}
fn warns(scope: &Scope) -> BoxFuture<'_, Result<Value, Problem>> {
    Box::pin(async {
        (0..1000).for_each(|number| scope.warn(format!("chunk {number}")));
        Ok(Value::Null)
    })
}

fn plan(rows: Vec<Row>) -> JobPlan<Calls> {
    JobPlan {
        id: JobId::generate(),
        kind: JobKind::Backup,
        subject: "web01".to_owned(),
        lock: Some("vm:web01".to_owned()),
        params: Value::Null,
        recovery: RecoveryPolicy::Unwind,
        sub_tasks: rows
            .into_iter()
            .map(|row| Box::new(row) as Box<dyn SubTask<Calls>>)
            .collect(),
    }
}

async fn run(log: Arc<dyn JobLog>, plan: JobPlan<Calls>) -> (JobOutcome, Vec<String>) {
    let (result, calls) = try_run(log, plan, CancellationToken::new()).await;
    (result.unwrap(), calls)
}

async fn try_run(
    log: Arc<dyn JobLog>,
    plan: JobPlan<Calls>,
    cancel: CancellationToken,
) -> (Result<JobOutcome, EngineError>, Vec<String>) {
    let mut calls = Calls::default();
    let engine = Engine::new(log);
    let result = engine
        .run(plan, &mut calls, &cancel, Arc::new(Silent))
        .await;
    let made = calls.lock().unwrap().clone();
    (result, made)
}

fn memory() -> Arc<dyn JobLog> {
    Arc::new(MemoryJobLog::default())
}

#[tokio::test(start_paused = true)]
async fn an_action_past_its_limit_is_told_to_end_and_named() {
    for action in [waits_for_cancel as Action, hangs] {
        let slow = Row {
            limit: Some(Duration::from_secs(60)),
            ..row("Slow", action)
        };
        let (outcome, calls) = run(memory(), plan(vec![row("First", works), slow])).await;
        assert_eq!(outcome.state(), JobState::Failed);
        let cause = outcome.cause().unwrap();
        assert!(cause.is("SubTaskTimedOut"), "{cause}");
        assert_eq!(cause.fields["limit_s"], "60");
        assert_eq!(calls, ["run First", "run Slow", "undo Slow", "undo First"]);
    }
}

#[tokio::test(start_paused = true)]
async fn cancel_unwinds_even_an_action_that_does_not_listen() {
    for action in [waits_for_cancel as Action, hangs] {
        let cancel = CancellationToken::new();
        let later = cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            later.cancel();
        });
        let rows = vec![row("First", works), row("Long", action)];
        let (result, calls) = try_run(memory(), plan(rows), cancel).await;
        let outcome = result.unwrap();
        assert_eq!(outcome.state(), JobState::Cancelled);
        assert!(outcome.cause().unwrap().is("Interrupted"));
        assert_eq!(calls[2..], ["undo Long", "undo First"]);
    }
}

#[tokio::test(start_paused = true)]
async fn cancel_is_heard_from_another_process() {
    let log = memory();
    let plan = plan(vec![row("Long", waits_for_cancel)]);
    let (job, other) = (plan.id, Arc::clone(&log));
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        other.request_cancel(job).await.unwrap();
    });
    let (outcome, _) = run(log, plan).await;
    assert_eq!(outcome.state(), JobState::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn the_first_cause_is_kept_when_an_undo_fails() {
    let stubborn = Row {
        undo_fails: true,
        ..row("Stubborn", works)
    };
    let rows = vec![row("First", works), stubborn, row("Bad", fails)];
    let (outcome, calls) = run(memory(), plan(rows)).await;
    assert_eq!(outcome.cause().unwrap().cause, "first");
    let seen = &outcome.view.sub_tasks[1];
    assert_eq!(seen.state, SubTaskState::UndoFailed);
    assert_eq!(seen.undo_problem.as_ref().unwrap().cause, "undo");
    assert_eq!(calls[3..], ["undo Bad", "undo Stubborn", "undo First"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_behind_the_commit_is_a_warning_and_the_rest_is_done() {
    let commit = Row {
        commits: true,
        ..row("Commit", works)
    };
    let rows = vec![commit, row("Tidy", fails), row("Sweep", works)];
    let (outcome, calls) = run(memory(), plan(rows)).await;
    assert_eq!(outcome.state(), JobState::CompletedWithWarnings);
    assert_eq!(outcome.cause(), None);
    assert_eq!(calls, ["run Commit", "run Tidy", "run Sweep"]);
}

#[tokio::test(start_paused = true)]
async fn warnings_are_kept_within_bounds() {
    let (outcome, _) = run(memory(), plan(vec![row("Noisy", warns)])).await;
    assert_eq!(outcome.state(), JobState::CompletedWithWarnings);
    assert_eq!(outcome.view.warnings.len(), 101);
}

#[tokio::test(start_paused = true)]
async fn a_second_job_for_the_same_vm_is_refused() {
    let log = memory();
    let first = plan(vec![row("Long", waits_for_cancel)]);
    let (job, other) = (first.id, Arc::clone(&log));
    let second = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let rows = vec![row("Never", works)];
        let refused = try_run(Arc::clone(&other), plan(rows), CancellationToken::new()).await;
        other.request_cancel(job).await.unwrap();
        refused
    });
    run(log, first).await;
    let (result, calls) = second.await.unwrap();
    let problem = Problem::from(&result.unwrap_err());
    assert!(problem.is("VmBusy"), "{problem}");
    assert_eq!(problem.fields["job"], job.to_string());
    assert!(calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_jobs_of_dead_processes_are_abandoned() {
    let log = memory();
    let job = |subject: &str| tresor_jobs::testing::contract::new_job(subject, None);
    let (dead, alive) = (job("dead"), job("alive"));
    log.begin(&dead, &dead_owner()).await.unwrap();
    log.begin(&alive, &Owner::current()).await.unwrap();
    let abandoned = Engine::new(Arc::clone(&log)).abandoned().await.unwrap();
    let ids: Vec<_> = abandoned.iter().map(|header| header.job.id).collect();
    assert_eq!(ids, [dead.id]);
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_call_was_dropped_is_recovered_by_the_same_process() {
    let engine = Engine::new(memory());
    let mut calls = Calls::default();
    let cancel = CancellationToken::new();
    let dropped = plan(vec![row("Long", hangs)]);
    let again = JobPlan {
        id: dropped.id,
        ..plan(vec![row("Long", hangs)])
    };
    let running = engine.run(dropped, &mut calls, &cancel, Arc::new(Silent));
    let ended = tokio::time::timeout(Duration::from_secs(5), running).await;
    assert!(ended.is_err(), "it hangs");
    assert_eq!(engine.abandoned().await.unwrap().len(), 1);
    let ended = engine
        .recover(again, &mut calls, &cancel, Arc::new(Silent))
        .await
        .unwrap();
    assert!(ended.cause().unwrap().is("JobAbandoned"));
    assert_eq!(*calls.lock().unwrap(), ["run Long", "undo Long"]);
    assert!(engine.abandoned().await.unwrap().is_empty());
}

/// A log that fails from some event on.
struct FailingLog {
    inner: MemoryJobLog,
    from: u64,
    kind: LogErrorKind,
}

#[async_trait]
impl JobLog for FailingLog {
    async fn begin(&self, job: &NewJob, owner: &Owner) -> Result<Lease, LogError> {
        self.inner.begin(job, owner).await
    }
    async fn append(
        &self,
        lease: &Lease,
        event: &RecordedEvent,
        state: JobState,
    ) -> Result<(), LogError> {
        if event.seq >= self.from {
            return Err(LogError::new(self.kind.clone(), "a test"));
        }
        self.inner.append(lease, event, state).await
    }
    async fn load(&self, job: JobId) -> Result<JobStory, LogError> {
        self.inner.load(job).await
    }
    async fn list(&self, filter: &JobFilter) -> Result<Vec<JobHeader>, LogError> {
        self.inner.list(filter).await
    }
    async fn take_over(&self, job: JobId, epoch: u64, to: &Owner) -> Result<Lease, LogError> {
        self.inner.take_over(job, epoch, to).await
    }
    async fn request_cancel(&self, job: JobId) -> Result<(), LogError> {
        self.inner.request_cancel(job).await
    }
    async fn cancel_requested(&self, job: JobId) -> Result<bool, LogError> {
        self.inner.cancel_requested(job).await
    }
    async fn heartbeat(&self, lease: &Lease, at: Timestamp) -> Result<(), LogError> {
        self.inner.heartbeat(lease, at).await
    }
    async fn set_progress(&self, lease: &Lease, progress: &Progress) -> Result<(), LogError> {
        self.inner.set_progress(lease, progress).await
    }
}

async fn run_on_failing_log(kind: LogErrorKind) -> (EngineError, Vec<String>, JobState) {
    // 0 taken up, 1 started, 2 succeeded, 3 started: the second action has begun.
    let inner = MemoryJobLog::default();
    let log = Arc::new(FailingLog {
        inner,
        from: 4,
        kind,
    });
    let plan = plan(vec![row("One", works), row("Two", works)]);
    let job = plan.id;
    let (result, calls) = try_run(log.clone(), plan, CancellationToken::new()).await;
    let state = log.load(job).await.unwrap().header.state;
    (result.unwrap_err(), calls, state)
}

#[tokio::test(start_paused = true)]
async fn when_the_log_fails_what_was_begun_is_undone_and_the_job_stays_open() {
    let (error, calls, state) = run_on_failing_log(LogErrorKind::Unusable).await;
    assert!(Problem::from(&error).is("StateUnusable"));
    assert_eq!(calls, ["run One", "run Two", "undo Two", "undo One"]);
    assert_eq!(state, JobState::InProgress);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_lost_its_job_touches_nothing_more() {
    let (_, calls, _) = run_on_failing_log(LogErrorKind::LeaseLost).await;
    assert_eq!(calls, ["run One", "run Two"]);
}

#[tokio::test(start_paused = true)]
async fn effects_follow_their_record() {
    let log = memory();
    let plan = plan(vec![row("One", works), row("Bad", fails)]);
    let job = plan.id;
    run(Arc::clone(&log), plan).await;
    let story = log.load(job).await.unwrap();
    let names: Vec<_> = story
        .events
        .iter()
        .map(|recorded| match &recorded.event {
            JobEvent::TakenUp { .. } => "taken up".to_owned(),
            JobEvent::Started { sub_task } => format!("start {sub_task}"),
            JobEvent::Succeeded { sub_task, .. } => format!("done {sub_task}"),
            JobEvent::Failed { sub_task, .. } => format!("failed {sub_task}"),
            JobEvent::UnwindStarted { .. } => "unwind".to_owned(),
            JobEvent::UndoStarted { sub_task } => format!("undo {sub_task}"),
            JobEvent::Undone { sub_task } => format!("undone {sub_task}"),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        names.join(", "),
        "taken up, start 0, done 0, start 1, failed 1, unwind, \
         undo 1, undone 1, undo 0, undone 0, Ended { state: Failed }"
    );
}
