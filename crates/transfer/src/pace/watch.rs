//! Looks at the guest from time to time.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tresor_disk::{GuestWrites, SnapshotProvider};

use super::{Governor, Pacer, Sample, decide_rate};

/// How often. A look opens a connection to the hypervisor and closes it again.
const EVERY: Duration = Duration::from_millis(500);

/// What the looks came to, for whoever asks during the backup or after it.
#[derive(Debug)]
pub struct GuestWatch(Mutex<Governor>);

impl GuestWatch {
    /// Of a guest whose writes usually take that long.
    #[must_use]
    pub fn new(usual: Option<Duration>) -> Self {
        Self(Mutex::new(Governor::new(usual)))
    }

    /// The latest.
    #[must_use]
    pub fn governor(&self) -> Governor {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, sample: Sample) -> Option<u64> {
        let mut governor = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *governor = decide_rate(&governor, sample);
        governor.rate
    }
}

/// What a write took on average between two looks; `None` when there was none, or the counters
/// began anew.
#[must_use]
pub fn mean_between(before: GuestWrites, after: GuestWrites) -> Option<Duration> {
    let count = after.count.checked_sub(before.count)?;
    let time = after.time.checked_sub(before.time)?;
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    time.checked_div(count)
}

/// Sets the pace for as long as it is polled; never ends. A look that tells nothing (somebody else
/// has the connection) changes nothing.
pub async fn watch_guest(
    provider: &dyn SnapshotProvider,
    pacer: &Pacer,
    watch: &GuestWatch,
) -> Infallible {
    let mut last = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(writes) = provider.guest_writes().await else {
            continue;
        };
        let now = (Instant::now(), writes, pacer.held().bytes);
        if let Some(before) = last.replace(now) {
            pacer.set_rate(watch.see(sample(before, now)));
        }
    }
}

type Look = (Instant, GuestWrites, u64);

fn sample((then, before, read_before): Look, (now, after, read): Look) -> Sample {
    let millis = now.duration_since(then).as_millis().max(1);
    let pace = u128::from(read.saturating_sub(read_before)) * 1000 / millis;
    Sample {
        writes: after.count.saturating_sub(before.count),
        mean: mean_between(before, after).unwrap_or_default(),
        pace: u64::try_from(pace).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(count: u64, millis: u64) -> GuestWrites {
        GuestWrites {
            count,
            time: Duration::from_millis(millis),
        }
    }

    #[test]
    fn a_mean_is_of_what_came_between() {
        let mean = mean_between(writes(10, 1000), writes(15, 1010));
        assert_eq!(mean, Some(Duration::from_millis(2)));
        assert_eq!(mean_between(writes(10, 1000), writes(10, 1000)), None);
        assert_eq!(mean_between(writes(10, 1000), writes(2, 1)), None);
    }

    #[test]
    fn a_sample_is_what_happened_between_two_looks() {
        let then = Instant::now();
        let now = then + Duration::from_millis(500);
        let seen = sample((then, writes(0, 0), 100), (now, writes(4, 8), 1100));
        let expected = Sample {
            writes: 4,
            mean: Duration::from_millis(2),
            pace: 2000,
        };
        assert_eq!(seen, expected);
    }
}
