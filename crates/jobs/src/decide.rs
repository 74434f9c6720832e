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
