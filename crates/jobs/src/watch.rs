//! The engine's ear while a job runs: cancellation from other processes, signs of life, progress.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{JobLog, Lease, LogError, LogErrorKind, Progress};

/// Runs beside a job until it is dropped.
pub(crate) struct Watch {
    /// Cancelled by the caller, by a request in the log, or by the loss of the lease.
    pub(crate) cancel: CancellationToken,
    /// Where actions leave their latest progress.
    pub(crate) progress: watch::Sender<Option<Progress>>,
    lease_lost: Arc<AtomicBool>,
    _task: AbortOnDropHandle<()>,
}

impl Watch {
    pub(crate) fn start(
        log: Arc<dyn JobLog>,
        lease: Lease,
        cancel: &CancellationToken,
        poll: Duration,
        heartbeat: Duration,
    ) -> Self {
        let cancel = cancel.child_token();
        let (progress, latest) = watch::channel(None);
        let lease_lost = Arc::new(AtomicBool::new(false));
        let round = Round {
            log,
            lease,
            cancel: cancel.clone(),
            latest,
            lease_lost: Arc::clone(&lease_lost),
            heartbeat,
            beat_at: Instant::now(),
        };
        Self {
            cancel,
            progress,
            lease_lost,
            _task: AbortOnDropHandle::new(tokio::spawn(round.repeat(poll))),
        }
    }

    /// Whether another process took the job over.
    pub(crate) fn lease_lost(&self) -> bool {
        self.lease_lost.load(Ordering::Acquire)
    }
}

struct Round {
    log: Arc<dyn JobLog>,
    lease: Lease,
    cancel: CancellationToken,
    latest: watch::Receiver<Option<Progress>>,
    lease_lost: Arc<AtomicBool>,
    heartbeat: Duration,
    beat_at: Instant,
}

impl Round {
    async fn repeat(mut self, poll: Duration) {
        let mut ticks = interval(poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.once().await {
                Ok(()) => {}
                Err(error) if error.kind == LogErrorKind::LeaseLost => {
                    self.lease_lost.store(true, Ordering::Release);
                    self.cancel.cancel();
                    return;
                }
                // A log that fails for a moment must not stop a job: the next append decides.
                Err(error) => tracing::debug!(job = %self.lease.job, %error, "watching a job"),
            }
        }
    }

    async fn once(&mut self) -> Result<(), LogError> {
        if !self.cancel.is_cancelled() && self.log.cancel_requested(self.lease.job).await? {
            self.cancel.cancel();
        }
        if self.beat_at.elapsed() >= self.heartbeat {
            self.log.heartbeat(&self.lease, Timestamp::now()).await?;
            self.beat_at = Instant::now();
        }
        if self.latest.has_changed().unwrap_or(false) {
            let progress = self.latest.borrow_and_update().clone();
            if let Some(progress) = progress {
                self.log.set_progress(&self.lease, &progress).await?;
            }
        }
        Ok(())
    }
}
