//! The cases: repeat every sub-task, fail each and unwind, cancel at each, crash at every record.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tresor_model::{JobId, JobState, SubTaskState};

use super::{
    CrashPoint, CrashingLog, Fault, PlanFixture, dead_owner,
    faulty::{Faulty, INJECTED},
};
use crate::{
    Engine, EngineError, JobLog, JobOutcome, JobPlan, JobView, LogErrorKind, Owner, Silent, Tuning,
};

/// All of them.
pub async fn check_plan<F: PlanFixture>(fixture: &F) {
    sub_tasks_run_twice(fixture).await;
    failures_unwind(fixture).await;
    cancels_unwind(fixture).await;
    crashes_are_recovered(fixture).await;
}

/// A plan whose every action is carried out twice ends like one whose actions run once.
pub async fn sub_tasks_run_twice<F: PlanFixture>(fixture: &F) {
    let goal = state_when_done(fixture).await;
    for index in 0..table_length(fixture).await {
        fixture.reset().await;
        let outcome = run(fixture, Some((index, Fault::Twice))).await;
        let name = &outcome.view.sub_tasks[index].name;
        assert!(
            is_done(&outcome.view),
            "\"{name}\" run twice: {:?}",
            outcome.view
        );
        assert_eq!(fixture.probe().await, goal, "after \"{name}\" ran twice");
    }
}

/// Whichever action fails, the job names it and leaves the world as it was; behind a commit the
/// job is done all the same, with a warning.
pub async fn failures_unwind<F: PlanFixture>(fixture: &F) {
    for index in 0..table_length(fixture).await {
        for fault in Fault::FAILURES {
            fixture.reset().await;
            let initial = fixture.probe().await;
            let view = run(fixture, Some((index, fault))).await.view;
            let name = &view.sub_tasks[index].name;
            if view.is_committed() {
                assert!(is_done(&view), "{fault:?} in \"{name}\": {view:?}");
                continue;
            }
            assert_eq!(view.state, JobState::Failed, "{fault:?} in \"{name}\"");
            assert_unwound(&view);
            let problem = view.sub_tasks[index].problem.as_ref();
            assert!(
                problem.is_some_and(|problem| problem.cause.contains(INJECTED)),
                "another failure hides the one in \"{name}\": {problem:?}"
            );
            assert_eq!(
                view.cause.as_ref(),
                problem,
                "the first cause is kept (\"{name}\")"
            );
            let left = fixture.probe().await;
            assert_eq!(left, initial, "{fault:?} in \"{name}\" is not taken back");
        }
    }
}

/// Whichever action runs when somebody cancels, the job ends as cancelled and leaves the world as it was; or
/// it is done, when nothing was left to do or its effect is final.
pub async fn cancels_unwind<F: PlanFixture>(fixture: &F) {
    let goal = state_when_done(fixture).await;
    for index in 0..table_length(fixture).await {
        fixture.reset().await;
        let initial = fixture.probe().await;
        let view = run(fixture, Some((index, Fault::Cancel))).await.view;
        let name = &view.sub_tasks[index].name;
        let left = fixture.probe().await;
        if is_done(&view) {
            let last = index + 1 == view.sub_tasks.len();
            assert!(last || view.is_committed(), "\"{name}\" went on: {view:?}");
            assert_eq!(left, goal, "cancelled in \"{name}\"");
            continue;
        }
        assert_eq!(view.state, JobState::Cancelled, "in \"{name}\": {view:?}");
        assert_unwound(&view);
        assert_eq!(left, initial, "cancelled in \"{name}\": something is left");
    }
}

/// A process that dies before or after any record leaves a job that the next one brings to its
/// end: done, or as if it had never been. Also when it dies while it unwinds, and when the one
/// that recovers dies as well.
pub async fn crashes_are_recovered<F: PlanFixture>(fixture: &F) {
    let goal = state_when_done(fixture).await;
    let mut scripts: Vec<_> = vec![None];
    scripts.extend((0..table_length(fixture).await).map(|index| Some((index, Fault::AfterEffect))));
    for script in scripts {
        for number in 0.. {
            let mut reached = false;
            for point in [CrashPoint::Before(number), CrashPoint::After(number)] {
                for again in [
                    None,
                    Some(CrashPoint::Before(2)),
                    Some(CrashPoint::After(1)),
                ] {
                    let case = format!("crash at {point:?}, then {again:?}, with {script:?}");
                    reached |= crash_and_recover(fixture, script, point, again, &goal, &case).await;
                }
            }
            if !reached {
                break;
            }
        }
    }
}

type Script = Option<(usize, Fault)>;

/// Returns whether the process died before the job was at its end.
async fn crash_and_recover<F: PlanFixture>(
    fixture: &F,
    script: Script,
    point: CrashPoint,
    again: Option<CrashPoint>,
    goal: &str,
    case: &str,
) -> bool {
    fixture.reset().await;
    let initial = fixture.probe().await;
    let log = fixture.log().await;
    let job = JobId::generate();
    if !dies(fixture, &log, job, script, point, Attempt::Run).await {
        return false;
    }
    if let Some(point) = again {
        dies(fixture, &log, job, script, point, Attempt::Recover).await;
    }
    if !recorded_view(&log, job, case).await.state.is_final() {
        assert_is_abandoned(&log, job, case).await;
        let engine = engine(&log, Owner::current());
        let recovered = recover_with(fixture, &engine, job, script).await;
        recovered.unwrap_or_else(|error| panic!("{case}: {error}"));
    }
    let view = recorded_view(&log, job, case).await;
    assert!(view.state.is_final(), "{case}: {:?}", view.state);
    let left = fixture.probe().await;
    if is_done(&view) {
        if script.is_none() {
            assert_eq!(left, goal, "{case}");
        }
    } else {
        assert_unwound(&view);
        assert_eq!(left, initial, "{case}: something is left of it");
    }
    true
}

async fn recorded_view(log: &Arc<dyn JobLog>, job: JobId, case: &str) -> JobView {
    let story = log.load(job).await;
    let view = story
        .unwrap_or_else(|error| panic!("{case}: {error}"))
        .view();
    view.unwrap_or_else(|error| panic!("{case}: {error}"))
}

async fn assert_is_abandoned(log: &Arc<dyn JobLog>, job: JobId, case: &str) {
    let abandoned = engine(log, Owner::current()).abandoned().await;
    let found = abandoned
        .unwrap_or_else(|error| panic!("{case}: {error}"))
        .iter()
        .any(|header| header.job.id == job);
    assert!(found, "{case}: the job is not found again");
}

#[derive(Clone, Copy)]
enum Attempt {
    Run,
    Recover,
}

/// Lets a process work on the job until it dies at `point`; `false` when it got through.
async fn dies<F: PlanFixture>(
    fixture: &F,
    log: &Arc<dyn JobLog>,
    job: JobId,
    script: Script,
    point: CrashPoint,
    attempt: Attempt,
) -> bool {
    let crashing = Arc::new(CrashingLog::new(Arc::clone(log), Some(point)));
    let crashed = crashing.crashed();
    let crashing: Arc<dyn JobLog> = crashing;
    let work = async {
        match attempt {
            Attempt::Run => run_on(fixture, &crashing, dead_owner(), job, script)
                .await
                .map(|_| ()),
            Attempt::Recover => {
                let engine = engine(&crashing, dead_owner());
                recover_with(fixture, &engine, job, script).await
            }
        }
    };
    tokio::select! {
        biased;
        () = crashed.cancelled() => true,
        ended = work => {
            // A process that died at its very last record has left nothing to recover.
            if let Err(error) = ended {
                let had_ended = matches!(attempt, Attempt::Recover)
                    && matches!(&error, EngineError::Log(log) if log.kind == LogErrorKind::LeaseLost);
                assert!(had_ended, "{error}");
            }
            false
        }
    }
}

async fn recover_with<F: PlanFixture>(
    fixture: &F,
    engine: &Engine,
    job: JobId,
    script: Script,
) -> Result<(), EngineError> {
    let cancel = CancellationToken::new();
    let plan = scripted(fixture.plan(job).await, script, &cancel);
    let mut ctx = fixture.context(job).await;
    engine
        .recover(plan, &mut ctx, &cancel, Arc::new(Silent))
        .await
        .map(|_| ())
}

fn engine(log: &Arc<dyn JobLog>, owner: Owner) -> Engine {
    Engine::with(Arc::clone(log), owner, Tuning::default())
}

async fn run<F: PlanFixture>(fixture: &F, script: Script) -> JobOutcome {
    let log = fixture.log().await;
    run_on(fixture, &log, Owner::current(), JobId::generate(), script)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

async fn run_on<F: PlanFixture>(
    fixture: &F,
    log: &Arc<dyn JobLog>,
    owner: Owner,
    job: JobId,
    script: Script,
) -> Result<JobOutcome, EngineError> {
    let cancel = CancellationToken::new();
    let plan = scripted(fixture.plan(job).await, script, &cancel);
    let mut ctx = fixture.context(job).await;
    engine(log, owner)
        .run(plan, &mut ctx, &cancel, Arc::new(Silent))
        .await
}

fn scripted<C: Send + 'static>(
    mut plan: JobPlan<C>,
    script: Script,
    cancel: &CancellationToken,
) -> JobPlan<C> {
    if let Some((index, fault)) = script {
        let inner = plan.sub_tasks.remove(index);
        let cancel = cancel.clone();
        let faulty = Box::new(Faulty {
            inner,
            fault,
            cancel,
        });
        plan.sub_tasks.insert(index, faulty);
    }
    plan
}

async fn table_length<F: PlanFixture>(fixture: &F) -> usize {
    fixture.reset().await;
    fixture.plan(JobId::generate()).await.sub_tasks.len()
}

/// Runs the plan undisturbed and says how the world looks then.
async fn state_when_done<F: PlanFixture>(fixture: &F) -> String {
    fixture.reset().await;
    let view = run(fixture, None).await.view;
    assert!(is_done(&view), "an undisturbed run is not done: {view:?}");
    fixture.probe().await
}

fn is_done(view: &JobView) -> bool {
    matches!(
        view.state,
        JobState::Completed | JobState::CompletedWithWarnings
    )
}

fn assert_unwound(view: &JobView) {
    for task in &view.sub_tasks {
        assert!(
            matches!(task.state, SubTaskState::Pending | SubTaskState::Undone),
            "\"{}\" is {:?}: {:?}",
            task.name,
            task.state,
            task.undo_problem
        );
    }
}
