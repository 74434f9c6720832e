//! The loop that starts backups: one process at a time has it, by a lease.
//!
//! # Invariants
//! - What starts is recorded as a job that waits before it counts as started. Nothing else starts scheduled
//!   backups, and a process that has lost the lease writes nothing any more ([`Catalog::under`]).
//! - An item whose job waits or runs gets no second one.
//!
//! # After a crash
//! The next holder of the lease finds jobs that wait or run by the log, takes in how others ended, and goes
//! on with what the catalog remembers of each item. A start that was recorded and not noted is found in the
//! log; one that was noted and not recorded cannot be.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tresor_catalog::{Catalog, Fence};

use crate::{
    ServiceOptions, Vitals,
    telling::Pulse,
    turn::{Turn, TurnError},
};

/// The name of the lease: who holds it schedules.
pub const SCHEDULER_LEASE: &str = "scheduler";
/// A holder that has not renewed it for so long has lost it.
const LEASE_TIME: SignedDuration = SignedDuration::from_secs(30);
const RENEW_EVERY: Duration = Duration::from_secs(8);
/// How often the catalog is asked whether somebody else has changed what is protected.
const RELOAD_EVERY: Duration = Duration::from_secs(15);
/// How often it is asked whether a vault is to be looked after.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// How often jobs that run are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The loop, in one of the service's processes.
pub(crate) struct Scheduling {
    catalog: Arc<Catalog>,
    options: ServiceOptions,
    outside: Outside,
}

/// How the loop and what is around it hear of each other.
pub(crate) struct Outside {
    /// Told when what is protected has changed.
    pub(crate) changed: Arc<Notify>,
    /// Told that the loop works.
    pub(crate) vitals: Arc<Vitals>,
    /// Told what is at risk.
    pub(crate) pulse: watch::Sender<Option<Pulse>>,
}

impl Scheduling {
    pub(crate) fn new(catalog: Arc<Catalog>, options: ServiceOptions, outside: Outside) -> Self {
        Self {
            catalog,
            options,
            outside,
        }
    }

    /// Schedules for as long as this process has the lease, until it is told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.outside.vitals.turn();
            let now = Timestamp::now();
            let owner = &self.options.name;
            let got = self
                .catalog
                .acquire(SCHEDULER_LEASE, owner, now, LEASE_TIME)
                .await;
            match got {
                Ok(Some(fence)) => {
                    tracing::info!(epoch = fence.epoch(), "this process schedules");
                    self.outside.vitals.lead(true);
                    if let Err(error) = self.turn(&fence, &stop).await {
                        tracing::warn!(error = %chain(&error), "scheduling begins anew");
                    }
                    self.outside.vitals.lead(false);
                    if let Err(error) = self.catalog.release(&fence).await {
                        tracing::debug!(%error, "the scheduler's lease is another's");
                    }
                }
                Ok(None) => tracing::debug!("another process schedules"),
                Err(error) => tracing::warn!(%error, "the scheduler's lease cannot be asked for"),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(self.options.lease_pause) => {}
            }
        }
    }

    /// From getting the lease to losing it.
    async fn turn(&self, fence: &Fence, stop: &CancellationToken) -> Result<(), TurnError> {
        let catalog = self.catalog.under(fence);
        let mut turn = Turn::begin(&catalog, &self.options).await?;
        let mut renew_at = Instant::now() + RENEW_EVERY;
        let mut reload_at = Instant::now() + RELOAD_EVERY;
        let mut keep_at = Instant::now();
        let mut beat_at = Instant::now();
        loop {
            let wake = turn.tick().await?;
            self.outside.vitals.tick(Timestamp::now());
            let pause = until(wake).min(LOOK_EVERY);
            let mut reload = false;
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
                () = self.outside.changed.notified() => reload = true,
            }
            if Instant::now() >= renew_at {
                catalog.renew(fence, Timestamp::now(), LEASE_TIME).await?;
                renew_at = Instant::now() + RENEW_EVERY;
            }
            if reload || Instant::now() >= reload_at {
                turn.load().await?;
                reload_at = Instant::now() + RELOAD_EVERY;
            }
            turn.look_at_jobs().await?;
            if Instant::now() >= keep_at {
                turn.look_after_vaults(&self.options).await?;
                turn.look_for_vms().await?;
                turn.note_late().await?;
                keep_at = Instant::now() + KEEP_EVERY;
            }
            if Instant::now() >= beat_at {
                let at_risk = turn.at_risk().await?;
                self.outside.pulse.send_replace(Some(Pulse { at_risk }));
                beat_at = Instant::now() + self.options.heartbeat_every;
            }
        }
    }
}

fn until(wake: Option<Timestamp>) -> Duration {
    let left = wake.map(|wake| wake.duration_since(Timestamp::now()));
    left.map_or(LOOK_EVERY, |left| {
        Duration::try_from(left).unwrap_or_default()
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(below) = next {
        text.push_str(&format!(": {below}"));
        next = below.source();
    }
    text
}
