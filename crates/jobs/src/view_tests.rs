use serde_json::json;
use tresor_problem::Kind;

use super::*;

fn specs() -> Vec<SubTaskSpec> {
    [("Prepare", false), ("Commit", true), ("Tidy", false)]
        .map(|(name, commits)| SubTaskSpec {
            name: name.to_owned(),
            limit_ms: None,
            commits,
        })
        .into()
}

fn problem(what: &str) -> Problem {
    let what = what.to_owned();
    Kind::Internal { what }.into()
}

fn taken() -> JobEvent {
    let owner = Owner::current();
    JobEvent::TakenUp { owner }
}
fn start(sub_task: usize) -> JobEvent {
    JobEvent::Started { sub_task }
}
fn done(sub_task: usize) -> JobEvent {
    let output = json!({"n": sub_task});
    JobEvent::Succeeded { sub_task, output }
}
fn failed(sub_task: usize) -> JobEvent {
    let problem = problem("failed");
    JobEvent::Failed { sub_task, problem }
}
fn unwind(reason: UnwindReason) -> JobEvent {
    let cause = problem("cause");
    JobEvent::UnwindStarted { reason, cause }
}
fn undo(sub_task: usize) -> JobEvent {
    JobEvent::UndoStarted { sub_task }
}
fn undone(sub_task: usize) -> JobEvent {
    JobEvent::Undone { sub_task }
}
fn ended(state: JobState) -> JobEvent {
    JobEvent::Ended { state }
}

fn folded(events: &[JobEvent]) -> Result<JobView, IllegalTransition> {
    let recorded: Vec<_> = (0..)
        .zip(events)
        .map(|(seq, event)| RecordedEvent {
            seq,
            at: Timestamp::UNIX_EPOCH,
            event: event.clone(),
        })
        .collect();
    fold(&specs(), &recorded)
}

fn refused(events: &[JobEvent]) -> &'static str {
    let error = folded(events).expect_err("the story cannot have happened");
    assert_eq!(error.seq, events.len() as u64 - 1, "only the last event");
    error.why
}

use JobState::{Cancelled, Cancelling, Completed, CompletedWithWarnings, Failed, InProgress};
use UnwindReason::{Cancel, Failure};

#[test]
fn legal_stories() {
    let all = [start(0), done(0), start(1), done(1), start(2)];
    let story = |rest: &[JobEvent]| [&[taken()], &all[..], rest].concat();
    let undo_0 = [undo(0), undone(0)];
    let back = |reason, end| {
        let head = [taken(), start(0), failed(0), unwind(reason)];
        [&head[..], &undo_0, &[ended(end)]].concat()
    };
    let cases = [
        (vec![], JobState::Queued),
        (vec![taken()], InProgress),
        (story(&[done(2), ended(Completed)]), Completed),
        (
            story(&[failed(2), ended(CompletedWithWarnings)]),
            CompletedWithWarnings,
        ),
        (back(Failure, Failed), Failed),
        (back(Cancel, Cancelled), Cancelled),
        (vec![taken(), unwind(Cancel)], Cancelling),
        (vec![taken(), unwind(Failure)], InProgress),
        (vec![taken(), unwind(Cancel), ended(Cancelled)], Cancelled),
    ];
    for (events, state) in cases {
        assert_eq!(folded(&events).expect("legal").state, state, "{events:?}");
    }
}

#[test]
fn illegal_stories() {
    let cases: &[(&[JobEvent], &str)] = &[
        (&[start(0)], "no process has taken the job up"),
        (
            &[taken(), start(1)],
            "an earlier sub-task has not succeeded",
        ),
        (&[taken(), start(9)], "there is no such sub-task"),
        (
            &[taken(), start(0), start(0)],
            "the sub-task was started before",
        ),
        (&[taken(), done(0)], "the sub-task is not running"),
        (
            &[taken(), start(0), done(0), done(0)],
            "the sub-task is not running",
        ),
        (
            &[taken(), start(0), failed(0), start(1)],
            "an earlier sub-task has not succeeded",
        ),
        (&[taken(), undo(0)], "the job is not being unwound"),
        (
            &[taken(), unwind(Cancel), start(0)],
            "the job is being unwound",
        ),
        (
            &[taken(), unwind(Cancel), unwind(Failure)],
            "the job is being unwound already",
        ),
        (
            &[taken(), unwind(Cancel), undo(0)],
            "it is not this sub-task's turn to be undone",
        ),
        (
            &[taken(), start(0), unwind(Cancel), done(0)],
            "the job is being unwound",
        ),
        (
            &[taken(), start(0), unwind(Cancel), undone(0)],
            "the sub-task's undo is not running",
        ),
        (
            &[
                taken(),
                start(0),
                done(0),
                start(1),
                unwind(Failure),
                undo(0),
            ],
            "it is not this sub-task's turn to be undone",
        ),
        (
            &[
                taken(),
                start(0),
                done(0),
                start(1),
                done(1),
                unwind(Cancel),
            ],
            "the job has committed",
        ),
        (
            &[taken(), start(0), unwind(Cancel), undo(0), undo(0)],
            "the sub-task's undo is running",
        ),
        (
            &[taken(), ended(Completed)],
            "a sub-task has not been carried out yet",
        ),
        (
            &[taken(), start(0), unwind(Cancel), ended(Cancelled)],
            "a sub-task has not been undone yet",
        ),
        (
            &[taken(), unwind(Cancel), ended(Failed)],
            "the events lead to another end",
        ),
        (
            &[taken(), unwind(Cancel), ended(Cancelled), taken()],
            "the job has ended",
        ),
    ];
    for (events, why) in cases {
        assert_eq!(refused(events), *why, "{events:?}");
    }
}

#[test]
fn a_number_out_of_order_is_refused() {
    let mut view = JobView::new(&specs());
    let before = view.clone();
    let wrong = RecordedEvent {
        seq: 1,
        at: Timestamp::UNIX_EPOCH,
        event: taken(),
    };
    assert!(view.apply(&wrong).is_err());
    assert_eq!(view, before, "a refused event changes nothing");
}

#[test]
fn what_a_dead_process_was_doing_may_begin_once_more() {
    let again = folded(&[taken(), start(0), taken(), start(0)]).expect("legal");
    assert_eq!(again.sub_tasks[0].state, SubTaskState::Started);
    assert!(!again.sub_tasks[0].interrupted);
    let undoing = [taken(), start(0), unwind(Cancel), undo(0), taken(), undo(0)];
    assert!(folded(&undoing).is_ok());
    assert!(folded(&[taken(), start(0), done(0), taken(), start(0)]).is_err());
}

#[test]
fn an_undo_that_failed_does_not_stop_the_others() {
    let problem = problem("undo");
    let sub_task = 1;
    let view = folded(&[
        taken(),
        start(0),
        done(0),
        start(1),
        failed(1),
        unwind(Failure),
        undo(1),
        JobEvent::UndoFailed { sub_task, problem },
        undo(0),
        undone(0),
        ended(Failed),
    ])
    .expect("legal");
    assert_eq!(view.cause.expect("kept").cause, "cause");
    assert_eq!(view.sub_tasks[1].state, SubTaskState::UndoFailed);
}

#[test]
fn recorded_events_keep_their_form() {
    let event = JobEvent::Succeeded {
        sub_task: 1,
        output: json!(5),
    };
    let text = serde_json::to_string(&event).expect("json");
    assert_eq!(text, r#"{"event":"succeeded","sub_task":1,"output":5}"#);
    let back: JobEvent = serde_json::from_str(&text).expect("json");
    assert_eq!(back, event);
}
