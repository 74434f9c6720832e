//! What a new process does with the job of a dead one. Pure.

use tresor_model::SubTaskState;

use crate::{AfterCrash, JobView};

/// What a plan wants for its job when its process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryPolicy {
    /// Take it back; the next job begins anew.
    Unwind,
    /// Go on when every sub-task that was started says that it can, else take it back.
    ResumeIfPossible,
}

/// What is done with an interrupted job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Go on with the sub-tasks that have not ended.
    Resume,
    /// Begin to take the job back.
    Unwind,
    /// Go on taking the job back.
    ContinueUnwind,
}

/// Decides over an interrupted job. `after_crash` holds the answer of each sub-task of the plan.
///
/// A committed job always goes on: its effect is final and only cleaning up is left. A job whose
/// cancellation was asked for is taken back when it still can be.
#[must_use]
pub fn decide_recovery(
    view: &JobView,
    policy: RecoveryPolicy,
    after_crash: &[AfterCrash],
    cancel_requested: bool,
) -> Recovery {
    if view.unwinding.is_some() {
        return Recovery::ContinueUnwind;
    }
    if view.is_committed() {
        return Recovery::Resume;
    }
    let failed = view.sub_tasks.iter().any(|task| task.problem.is_some());
    let can_resume =
        view.sub_tasks.iter().zip(after_crash).all(|(task, after)| {
            task.state == SubTaskState::Pending || *after == AfterCrash::Resume
        });
    if policy == RecoveryPolicy::ResumeIfPossible && can_resume && !failed && !cancel_requested {
        Recovery::Resume
    } else {
        Recovery::Unwind
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::Value;
    use tresor_problem::Kind;

    use super::*;
    use crate::{JobEvent, Owner, RecordedEvent, SubTaskSpec, UnwindReason, fold};

    fn view(events: &[JobEvent]) -> JobView {
        let specs =
            [("Prepare", false), ("Commit", true), ("Tidy", false)].map(|(name, commits)| {
                let name = name.to_owned();
                let limit_ms = None;
                SubTaskSpec {
                    name,
                    limit_ms,
                    commits,
                }
            });
        let owner = Owner::current();
        let taken = JobEvent::TakenUp { owner };
        let recorded: Vec<_> = (0..)
            .zip(std::iter::once(&taken).chain(events))
            .map(|(seq, event)| RecordedEvent {
                seq,
                at: Timestamp::UNIX_EPOCH,
                event: event.clone(),
            })
            .collect();
        fold(&specs, &recorded).expect("a legal story")
    }

    fn start(sub_task: usize) -> JobEvent {
        JobEvent::Started { sub_task }
    }

    fn done(sub_task: usize) -> JobEvent {
        let output = Value::Null;
        JobEvent::Succeeded { sub_task, output }
    }

    #[test]
    fn a_job_goes_on_only_where_every_started_row_can() {
        use AfterCrash::{Resume, Unwind};
        use RecoveryPolicy::ResumeIfPossible;
        let half = view(&[start(0), done(0), start(1)]);
        let decide =
            |policy, rows: &[AfterCrash], cancel| decide_recovery(&half, policy, rows, cancel);
        let all = [Resume; 3];
        assert_eq!(decide(ResumeIfPossible, &all, false), Recovery::Resume);
        assert_eq!(
            decide(ResumeIfPossible, &[Resume, Resume, Unwind], false),
            Recovery::Resume,
            "a row that was not started has no say"
        );
        assert_eq!(
            decide(ResumeIfPossible, &[Resume, Unwind, Resume], false),
            Recovery::Unwind
        );
        assert_eq!(
            decide(RecoveryPolicy::Unwind, &all, false),
            Recovery::Unwind
        );
        assert_eq!(decide(ResumeIfPossible, &all, true), Recovery::Unwind);
    }

    #[test]
    fn what_has_committed_goes_on_and_what_unwinds_goes_on_unwinding() {
        let rows = [AfterCrash::Unwind; 3];
        let policy = RecoveryPolicy::Unwind;
        let committed = view(&[start(0), done(0), start(1), done(1), start(2)]);
        let decided = decide_recovery(&committed, policy, &rows, true);
        assert_eq!(decided, Recovery::Resume);
        let what = "test".to_owned();
        let cause = Kind::Internal { what }.into();
        let reason = UnwindReason::Crash;
        let unwinding = view(&[start(0), JobEvent::UnwindStarted { reason, cause }]);
        let decided = decide_recovery(&unwinding, policy, &rows, false);
        assert_eq!(decided, Recovery::ContinueUnwind);
    }

    #[test]
    fn a_recorded_failure_is_not_tried_again() {
        let what = "test".to_owned();
        let problem = Kind::Internal { what }.into();
        let sub_task = 0;
        let failed = view(&[start(0), JobEvent::Failed { sub_task, problem }]);
        let rows = [AfterCrash::Resume; 3];
        let policy = RecoveryPolicy::ResumeIfPossible;
        let decided = decide_recovery(&failed, policy, &rows, false);
        assert_eq!(decided, Recovery::Unwind);
    }
}
