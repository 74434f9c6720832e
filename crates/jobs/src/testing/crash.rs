//! A log under which the process "dies" at a chosen record.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tresor_model::{JobId, JobState};

use crate::{
    JobFilter, JobHeader, JobLog, JobStory, Lease, LogError, NewJob, Owner, Progress, RecordedEvent,
};

/// Where the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// When it wants to record the event of this number (counted over this log, from 0): the
    /// effect before it has taken place and is not recorded.
    Before(u64),
    /// Right after that event was recorded: the effect it announces has not begun.
    After(u64),
}

/// Passes calls on until the crash point; the call that reaches it never returns.
pub struct CrashingLog {
    inner: Arc<dyn JobLog>,
    point: Option<CrashPoint>,
    appended: AtomicU64,
    crashed: CancellationToken,
}

impl CrashingLog {
    /// A log over another one, which keeps what was recorded. Without a point it only counts.
    #[must_use]
    pub fn new(inner: Arc<dyn JobLog>, point: Option<CrashPoint>) -> Self {
        Self {
            inner,
            point,
            appended: AtomicU64::new(0),
            crashed: CancellationToken::new(),
        }
    }

    /// Cancelled when the point was reached: then drop the job's future, as death would.
    #[must_use]
    pub fn crashed(&self) -> CancellationToken {
        self.crashed.clone()
    }

    /// How many events were recorded through this log.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.appended.load(Ordering::SeqCst)
    }

    async fn die_at(&self, point: CrashPoint) {
        if self.point == Some(point) {
            self.crashed.cancel();
            pending::<()>().await;
        }
    }
}

#[async_trait]
impl JobLog for CrashingLog {
    async fn begin(&self, job: &NewJob, owner: &Owner) -> Result<Lease, LogError> {
        self.inner.begin(job, owner).await
    }

    async fn append(
        &self,
        lease: &Lease,
        event: &RecordedEvent,
        state: JobState,
    ) -> Result<(), LogError> {
        let number = self.appended();
        self.die_at(CrashPoint::Before(number)).await;
        self.inner.append(lease, event, state).await?;
        self.appended.fetch_add(1, Ordering::SeqCst);
        self.die_at(CrashPoint::After(number)).await;
        Ok(())
    }

    async fn load(&self, job: JobId) -> Result<JobStory, LogError> {
        self.inner.load(job).await
    }
    async fn list(&self, filter: &JobFilter) -> Result<Vec<JobHeader>, LogError> {
        self.inner.list(filter).await
    }
    async fn take_over(&self, job: JobId, epoch: u64, owner: &Owner) -> Result<Lease, LogError> {
        self.inner.take_over(job, epoch, owner).await
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
