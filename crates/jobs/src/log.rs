//! The port to the place where the story of jobs is kept.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tresor_model::{JobId, JobKind, JobState};

use crate::{IllegalTransition, JobView, LogError, Owner, Progress, RecordedEvent, fold};

/// A sub-task as it is recorded when the job is made, so that a job can be shown and judged
/// without the program that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubTaskSpec {
    /// The name users see.
    pub name: String,
    /// Time limit of the action in milliseconds.
    pub limit_ms: Option<u64>,
    /// Whether the job is final once it has succeeded.
    #[serde(default)]
    pub commits: bool,
}

/// A job to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// What it is about, as users name it.
    pub subject: String,
    /// Excludes other unfinished jobs with the same key.
    pub lock: Option<String>,
    /// All that is needed to build its plan again.
    pub params: Value,
    /// Its table.
    pub sub_tasks: Vec<SubTaskSpec>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The right to append to a job: held by one process at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// Rises with each process that takes the job over. A process that wakes up with an old
    /// number is refused.
    pub epoch: u64,
}

/// A job without its events.
#[derive(Debug, Clone, PartialEq)]
pub struct JobHeader {
    /// What was recorded when it was made.
    pub job: NewJob,
    /// Where it is.
    pub state: JobState,
    /// The process that works on it, or did last; `None` while it waits to be taken up.
    pub owner: Option<Owner>,
    /// Number of the owner's lease.
    pub epoch: u64,
    /// The owner's last sign of life, by the owner's clock, or by that of the log's keeper, where it is not
    /// the owner's.
    pub heartbeat_at: Timestamp,
    /// Whether somebody asked for its end.
    pub cancel_requested: bool,
    /// How far its running sub-task was, a second or so ago.
    pub progress: Option<Progress>,
    /// The lane in which it waits or has waited (a host's id, or the service itself); `None`: it never
    /// waited.
    pub lane: Option<String>,
}

/// A job with all that happened to it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobStory {
    /// The job.
    pub header: JobHeader,
    /// Its events, in order.
    pub events: Vec<RecordedEvent>,
}

impl JobStory {
    /// What the events amount to.
    ///
    /// # Errors
    /// [`IllegalTransition`] when the story cannot have happened.
    pub fn view(&self) -> Result<JobView, IllegalTransition> {
        fold(&self.header.job.sub_tasks, &self.events)
    }
}

/// Which jobs to list, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only those about this subject.
    pub subject: Option<String>,
    /// Only those that do this.
    pub kind: Option<JobKind>,
    /// Only those that are there.
    pub state: Option<JobState>,
    /// Only those that wait or have waited in this lane.
    pub lane: Option<String>,
    /// Only those that have not ended.
    pub unfinished: bool,
    /// Only those made before this one: the last one of a page gives the next page.
    pub before: Option<JobId>,
    /// At most so many; `None`: all.
    pub limit: Option<u32>,
}

impl JobFilter {
    /// Whether a job passes, the limit apart.
    #[must_use]
    pub fn passes(&self, header: &JobHeader) -> bool {
        let job = &header.job;
        self.subject
            .as_ref()
            .is_none_or(|subject| *subject == job.subject)
            && self.kind.is_none_or(|kind| kind == job.kind)
            && self.state.is_none_or(|state| state == header.state)
            && (self.lane.is_none() || self.lane == header.lane)
            && (!self.unfinished || !header.state.is_final())
            && self.before.is_none_or(|before| job.id < before)
    }
}

/// Keeps jobs and their events. Several processes may use the same log at once.
///
/// When a call returns `Ok`, its effect survives a crash of the process and of the machine
/// (`set_progress` and `heartbeat` excepted). When it returns an error, its effect may or may not
/// have taken place, except for `Busy` and `LeaseLost`: then nothing was changed.
///
/// `begin`, `append` and [`enqueue`](crate::JobQueue::enqueue) can be made again, when an answer was lost
/// on the way: the very same call that has taken place already is a success, as long as nobody has done
/// anything to the job since. What is the same is told by all that is recorded.
#[async_trait]
pub trait JobLog: Send + Sync {
    /// Records a job (queued, no event) and gives its lease to `owner`.
    ///
    /// # Errors
    /// `Busy` with the holder's id when an unfinished job has the same lock key, dead owner or not;
    /// `Unusable` when there is another job of that id.
    async fn begin(&self, job: &NewJob, owner: &Owner) -> Result<Lease, LogError>;

    /// Appends an event; `state` is the job's state with it. A final state ends the lease and
    /// frees the lock key in the same step.
    ///
    /// # Errors
    /// `LeaseLost` when the lease is over, or `event.seq` is not the next number (but for the last event, made
    /// again).
    async fn append(
        &self,
        lease: &Lease,
        event: &RecordedEvent,
        state: JobState,
    ) -> Result<(), LogError>;

    /// The job and its story.
    ///
    /// # Errors
    /// `NotFound`.
    async fn load(&self, job: JobId) -> Result<JobStory, LogError>;

    /// The jobs that pass the filter, newest first.
    ///
    /// # Errors
    /// `Unusable`.
    async fn list(&self, filter: &JobFilter) -> Result<Vec<JobHeader>, LogError>;

    /// Gives the lease of an unfinished job to `owner`, if its number is still `epoch`.
    ///
    /// # Errors
    /// `LeaseLost` when another process was faster, or the job has ended. `NotFound`.
    async fn take_over(&self, job: JobId, epoch: u64, owner: &Owner) -> Result<Lease, LogError>;

    /// Asks the owner of an unfinished job to unwind it. Asking twice is asking once; asking
    /// for a job that has ended changes nothing.
    ///
    /// # Errors
    /// `NotFound`.
    async fn request_cancel(&self, job: JobId) -> Result<(), LogError>;

    /// Whether that was asked for.
    ///
    /// # Errors
    /// `NotFound`.
    async fn cancel_requested(&self, job: JobId) -> Result<bool, LogError>;

    /// A sign of life of the lease's holder.
    ///
    /// # Errors
    /// `LeaseLost`.
    async fn heartbeat(&self, lease: &Lease, at: Timestamp) -> Result<(), LogError>;

    /// Keeps the latest progress of a job, for other processes to show.
    ///
    /// # Errors
    /// `LeaseLost`.
    async fn set_progress(&self, lease: &Lease, progress: &Progress) -> Result<(), LogError>;
}
