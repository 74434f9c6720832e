//! What a running action sees of the engine, and what a watcher sees of the job.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tresor_model::JobId;

use crate::{JobEvent, JobView, Warning};

/// How many warnings one sub-task may leave. A damaged disk gives one per chunk; the log must not
/// grow with the disk. The action's own report is the place for complete lists.
const WARNINGS_KEPT: usize = 100;

/// How far a sub-task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Index of the sub-task.
    pub sub_task: usize,
    /// Bytes done.
    pub done: u64,
    /// Bytes to do, where that is known.
    pub total: Option<u64>,
    /// What is being done, in a few words; may be empty.
    pub message: String,
}

/// Watches a job from within its process: a progress bar, a log. Must not block.
pub trait Observer: Send + Sync {
    /// An event has been recorded; `view` includes it.
    fn on_event(&self, _job: JobId, _view: &JobView, _event: &JobEvent) {}
    /// A sub-task got further. Called as often as the sub-task reports.
    fn on_progress(&self, _job: JobId, _progress: &Progress) {}
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Handed to a running action. Cheap to clone, so that the action's own tasks can report.
#[derive(Clone)]
pub struct Scope {
    pub(crate) job: JobId,
    pub(crate) sub_task: usize,
    pub(crate) cancel: CancellationToken,
    pub(crate) deadline: Option<Instant>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) latest: watch::Sender<Option<Progress>>,
    pub(crate) warnings: mpsc::Sender<Warning>,
    pub(crate) warned: Arc<AtomicUsize>,
}

impl Scope {
    /// The job.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.job
    }

    /// Cancelled when the action shall end: the user asked for it, its limit has passed, or the
    /// process lost the job to another one.
    #[must_use]
    pub fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// When the limit passes.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Reports how far the action is, in bytes. May be called often.
    pub fn progress(&self, done: u64, total: Option<u64>, message: impl Into<String>) {
        let progress = Progress {
            sub_task: self.sub_task,
            done,
            total,
            message: message.into(),
        };
        self.observer.on_progress(self.job, &progress);
        self.latest.send_replace(Some(progress));
    }

    /// Leaves a warning: the job goes on, and ends as "completed with warnings". Beyond the first
    /// hundred of a sub-task they only go to the trace.
    pub fn warn(&self, warning: impl Into<Warning>) {
        let warning = warning.into();
        tracing::warn!(job = %self.job, sub_task = self.sub_task, %warning);
        let before = self.warned.fetch_add(1, Ordering::Relaxed);
        let kept = match before {
            _ if before < WARNINGS_KEPT => warning,
            _ if before == WARNINGS_KEPT => Warning::from("There were more warnings like these."),
            _ => return,
        };
        // The channel has room for all that are kept; it is closed only when the action was given
        // up, and then the job has a greater problem than this one.
        if self.warnings.try_send(kept).is_err() {
            tracing::debug!(job = %self.job, "warning of an action that was given up");
        }
    }

    /// Room that the channel of warnings needs.
    pub(crate) const fn warning_room() -> usize {
        WARNINGS_KEPT + 1
    }
}
