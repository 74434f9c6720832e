//! Jobs that wait until somebody takes them up.
//!
//! # Invariants
//! - A job that waits is recorded like any other, without an owner and without its lock key: it holds up
//!   nobody, and nobody takes it for a dead process's.
//! - Taking it up gives it both in one step. Whoever finds the key held leaves the job where it is.
//! - Waiting is no sub-task's time: a job begins when it is taken up.

use async_trait::async_trait;
use jiff::Timestamp;
use tresor_model::JobId;

use crate::{JobLog, Lease, LogError, NewJob, Owner};

/// Where and since when a job waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Who may take it up: a host's id, or the service itself.
    pub lane: String,
    /// Nobody takes it up earlier.
    pub not_before: Timestamp,
    /// Lower ones first; of equal ones the one that waits longest.
    pub rank: i64,
}

/// A job that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitingJob {
    /// The job. Its lock is the key that it will need.
    pub job: NewJob,
    /// Its place.
    pub ticket: Ticket,
    /// Whether somebody asked for its end: who takes it up then only ends it.
    pub cancel_requested: bool,
}

/// A log in which jobs can wait. Any number of processes put jobs in and take them out at once.
#[async_trait]
pub trait JobQueue: JobLog {
    /// Records a job that waits (queued, no event, no owner).
    ///
    /// # Errors
    /// `Unusable`; also when there is another job of that id.
    async fn enqueue(&self, job: &NewJob, ticket: &Ticket) -> Result<(), LogError>;

    /// The jobs of a lane that may be taken up at `now`, in their order, at most `limit`. A queue on another
    /// machine goes by its own clock.
    ///
    /// # Errors
    /// `Unusable`.
    async fn due(
        &self,
        lane: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<WaitingJob>, LogError>;

    /// Gives a job that waits to `owner`, with its lock key.
    ///
    /// # Errors
    /// `Busy` with the holder's id when another unfinished job has the key: the job goes on waiting.
    /// `LeaseLost` when it does not wait (somebody else was faster). `NotFound`.
    async fn claim(&self, job: JobId, owner: &Owner) -> Result<Lease, LogError>;

    /// Moves a job that waits to another place: later, or to another host.
    ///
    /// # Errors
    /// `LeaseLost` when it does not wait. `NotFound`.
    async fn requeue(&self, job: JobId, ticket: &Ticket) -> Result<(), LogError>;
}
