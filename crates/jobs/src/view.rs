//! What a job's events amount to: a pure fold that refuses what cannot have happened.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tresor_model::{JobState, SubTaskState};
use tresor_problem::Problem;

use crate::{JobEvent, Owner, RecordedEvent, SubTaskSpec, UnwindReason, Warning};

/// An event that does not fit the ones before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {seq} cannot follow the ones before it: {why}")]
pub struct IllegalTransition {
    /// The event's number.
    pub seq: u64,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A sub-task as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubTaskView {
    /// The name users see.
    pub name: String,
    /// Time limit of the action in milliseconds.
    pub limit_ms: Option<u64>,
    /// Whether the job is final once it has succeeded.
    pub commits: bool,
    /// Where it is.
    pub state: SubTaskState,
    /// When its action was last begun.
    pub started_at: Option<Timestamp>,
    /// When its action ended.
    pub ended_at: Option<Timestamp>,
    /// What its action left.
    pub output: Option<Value>,
    /// Why its action gave up.
    pub problem: Option<Problem>,
    /// Why its undo gave up.
    pub undo_problem: Option<Problem>,
    /// The process died during its action or undo, which therefore may begin once more.
    pub interrupted: bool,
}

/// A warning and where it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedWarning {
    /// Index of the sub-task.
    pub sub_task: Option<usize>,
    /// When.
    pub at: Timestamp,
    /// What.
    pub warning: Warning,
}

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// Where it is.
    pub state: JobState,
    /// The process that works on it, or did last.
    pub owner: Option<Owner>,
    /// The table.
    pub sub_tasks: Vec<SubTaskView>,
    /// What is worth reading.
    pub warnings: Vec<RecordedWarning>,
    /// Why it is or was taken back.
    pub unwinding: Option<UnwindReason>,
    /// The first cause of that, never overwritten.
    pub cause: Option<Problem>,
    /// When a process first worked on it.
    pub begun_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Number of the next event.
    pub next_seq: u64,
}

/// Folds a whole story.
///
/// # Errors
/// [`IllegalTransition`] at the first event that cannot follow the ones before it.
pub fn fold(specs: &[SubTaskSpec], events: &[RecordedEvent]) -> Result<JobView, IllegalTransition> {
    let mut view = JobView::new(specs);
    for event in events {
        view.apply(event)?;
    }
    Ok(view)
}

impl JobView {
    /// A job with no event.
    #[must_use]
    pub fn new(specs: &[SubTaskSpec]) -> Self {
        Self {
            state: JobState::Queued,
            owner: None,
            sub_tasks: specs.iter().map(SubTaskView::new).collect(),
            warnings: Vec::new(),
            unwinding: None,
            cause: None,
            begun_at: None,
            ended_at: None,
            next_seq: 0,
        }
    }

    /// Whether the job's effect is final.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.sub_tasks
            .iter()
            .any(|task| task.commits && task.state == SubTaskState::Succeeded)
    }

    /// The sub-task that is to be undone next: the last one with effects.
    #[must_use]
    pub fn next_undo(&self) -> Option<usize> {
        self.sub_tasks.iter().rposition(SubTaskView::has_effects)
    }

    /// The first sub-task whose action has not ended.
    #[must_use]
    pub fn next_action(&self) -> Option<usize> {
        self.sub_tasks
            .iter()
            .position(|task| !task.state.action_ended())
    }

    /// The final state that the events so far lead to.
    #[must_use]
    pub fn verdict(&self) -> JobState {
        let failures = self.sub_tasks.iter().any(|task| task.problem.is_some());
        match self.unwinding {
            Some(UnwindReason::Cancel) => JobState::Cancelled,
            Some(UnwindReason::Failure | UnwindReason::Crash) => JobState::Failed,
            None if failures || !self.warnings.is_empty() => JobState::CompletedWithWarnings,
            None => JobState::Completed,
        }
    }

    /// Takes the next event in.
    ///
    /// # Errors
    /// [`IllegalTransition`]; the view is unchanged then.
    pub fn apply(&mut self, recorded: &RecordedEvent) -> Result<(), IllegalTransition> {
        self.check(recorded).map_err(|why| IllegalTransition {
            seq: recorded.seq,
            why,
        })?;
        let at = recorded.at;
        match &recorded.event {
            JobEvent::TakenUp { owner } => self.take_up(owner, at),
            JobEvent::Started { sub_task } => self.sub_tasks[*sub_task].start(at),
            JobEvent::Succeeded { sub_task, output } => {
                let task = &mut self.sub_tasks[*sub_task];
                task.end(SubTaskState::Succeeded, at);
                task.output = Some(output.clone());
                task.problem = None;
            }
            JobEvent::Failed { sub_task, problem } => {
                let task = &mut self.sub_tasks[*sub_task];
                task.end(SubTaskState::Failed, at);
                task.problem = Some(problem.clone());
            }
            JobEvent::Warned { sub_task, warning } => self.warnings.push(RecordedWarning {
                sub_task: *sub_task,
                at,
                warning: warning.clone(),
            }),
            JobEvent::UnwindStarted { reason, cause } => {
                self.unwinding = Some(*reason);
                self.cause = Some(cause.clone());
                if *reason == UnwindReason::Cancel {
                    self.state = JobState::Cancelling;
                }
            }
            JobEvent::UndoStarted { sub_task } => {
                let task = &mut self.sub_tasks[*sub_task];
                task.state = SubTaskState::UndoStarted;
                task.interrupted = false;
            }
            JobEvent::Undone { sub_task } => {
                self.sub_tasks[*sub_task].state = SubTaskState::Undone;
            }
            JobEvent::UndoFailed { sub_task, problem } => {
                let task = &mut self.sub_tasks[*sub_task];
                task.state = SubTaskState::UndoFailed;
                task.undo_problem = Some(problem.clone());
            }
            JobEvent::Ended { state } => {
                self.state = *state;
                self.ended_at = Some(at);
            }
        }
        self.next_seq += 1;
        Ok(())
    }

    fn take_up(&mut self, owner: &Owner, at: Timestamp) {
        self.owner = Some(owner.clone());
        self.begun_at.get_or_insert(at);
        if self.state == JobState::Queued {
            self.state = JobState::InProgress;
        }
        for task in &mut self.sub_tasks {
            task.interrupted |= matches!(
                task.state,
                SubTaskState::Started | SubTaskState::UndoStarted
            );
        }
    }

    /// Why the event cannot come next, if it cannot.
    fn check(&self, recorded: &RecordedEvent) -> Result<(), &'static str> {
        ensure(recorded.seq == self.next_seq, "its number is out of order")?;
        ensure(!self.state.is_final(), "the job has ended")?;
        let begun = matches!(recorded.event, JobEvent::TakenUp { .. }) || self.owner.is_some();
        ensure(begun, "no process has taken the job up")?;
        match &recorded.event {
            JobEvent::TakenUp { .. } => Ok(()),
            JobEvent::Warned { sub_task, .. } => {
                sub_task.map_or(Ok(()), |index| self.task(index).map(|_| ()))
            }
            JobEvent::Started { sub_task } => self.check_start(*sub_task),
            JobEvent::Succeeded { sub_task, .. } | JobEvent::Failed { sub_task, .. } => {
                ensure(self.unwinding.is_none(), "the job is being unwound")?;
                let running = self.task(*sub_task)?.state == SubTaskState::Started;
                ensure(running, "the sub-task is not running")
            }
            JobEvent::UnwindStarted { .. } => {
                ensure(self.unwinding.is_none(), "the job is being unwound already")?;
                ensure(!self.is_committed(), "the job has committed")
            }
            JobEvent::UndoStarted { sub_task } => self.check_undo(*sub_task),
            JobEvent::Undone { sub_task } | JobEvent::UndoFailed { sub_task, .. } => {
                let undoing = self.task(*sub_task)?.state == SubTaskState::UndoStarted;
                ensure(undoing, "the sub-task's undo is not running")
            }
            JobEvent::Ended { state } => self.check_end(*state),
        }
    }

    fn task(&self, index: usize) -> Result<&SubTaskView, &'static str> {
        self.sub_tasks.get(index).ok_or("there is no such sub-task")
    }

    fn check_start(&self, index: usize) -> Result<(), &'static str> {
        ensure(self.unwinding.is_none(), "the job is being unwound")?;
        let task = self.task(index)?;
        ensure(
            task.state == SubTaskState::Pending || task.interrupted,
            "the sub-task was started before",
        )?;
        let committed = self.is_committed();
        let earlier_done = self.sub_tasks[..index].iter().all(|earlier| {
            earlier.state == SubTaskState::Succeeded
                || (committed && earlier.state == SubTaskState::Failed)
        });
        ensure(earlier_done, "an earlier sub-task has not succeeded")
    }

    fn check_undo(&self, index: usize) -> Result<(), &'static str> {
        ensure(self.unwinding.is_some(), "the job is not being unwound")?;
        let task = self.task(index)?;
        ensure(
            task.state != SubTaskState::UndoStarted || task.interrupted,
            "the sub-task's undo is running",
        )?;
        ensure(
            self.next_undo() == Some(index),
            "it is not this sub-task's turn to be undone",
        )
    }

    fn check_end(&self, state: JobState) -> Result<(), &'static str> {
        ensure(state == self.verdict(), "the events lead to another end")?;
        if self.unwinding.is_some() {
            ensure(
                self.next_undo().is_none(),
                "a sub-task has not been undone yet",
            )
        } else {
            let failed_before_commit =
                !self.is_committed() && self.sub_tasks.iter().any(|task| task.problem.is_some());
            ensure(!failed_before_commit, "a sub-task has failed")?;
            ensure(
                self.next_action().is_none(),
                "a sub-task has not been carried out yet",
            )
        }
    }
}

impl SubTaskView {
    fn new(spec: &SubTaskSpec) -> Self {
        Self {
            name: spec.name.clone(),
            limit_ms: spec.limit_ms,
            commits: spec.commits,
            state: SubTaskState::Pending,
            started_at: None,
            ended_at: None,
            output: None,
            problem: None,
            undo_problem: None,
            interrupted: false,
        }
    }

    fn start(&mut self, at: Timestamp) {
        self.state = SubTaskState::Started;
        self.started_at = Some(at);
        self.interrupted = false;
    }

    fn end(&mut self, state: SubTaskState, at: Timestamp) {
        self.state = state;
        self.ended_at = Some(at);
        self.interrupted = false;
    }

    /// Whether the sub-task may have left something that its undo has not dealt with.
    pub(crate) fn has_effects(&self) -> bool {
        match self.state {
            SubTaskState::Pending | SubTaskState::Undone | SubTaskState::UndoFailed => false,
            SubTaskState::Started
            | SubTaskState::Succeeded
            | SubTaskState::Failed
            | SubTaskState::UndoStarted => true,
        }
    }
}

/// What the engine asks of a sub-task's state.
trait ActionEnded {
    fn action_ended(self) -> bool;
}

impl ActionEnded for SubTaskState {
    fn action_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Started)
    }
}

fn ensure(holds: bool, why: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(why) }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
