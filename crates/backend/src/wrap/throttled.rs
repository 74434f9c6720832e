//! Limiting the rate of bytes.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::{Backend, Error, ObjectMeta, ObjectName, Properties, Retained};

/// How long the bucket fills: after a pause, so much of the rate passes at once.
const BURST: Duration = Duration::from_secs(1);

/// Limits the bytes per second of bodies, stored and read together, over all callers.
///
/// A body larger than the bucket passes when its turn comes and is paid for by those after it;
/// turns are given in the order of the calls.
#[derive(Debug)]
pub struct Throttled<B> {
    inner: B,
    /// Whether reading counts.
    reads: bool,
    turns: Turns,
}

/// Hands out turns at a rate, in the order in which they are asked for.
#[derive(Debug)]
pub(super) struct Turns {
    per_second: NonZeroU64,
    /// When all that was let through so far is paid for.
    paid_at: Mutex<Instant>,
}

impl<B> Throttled<B> {
    /// Limits `inner` to so many bytes per second.
    pub fn new(inner: B, bytes_per_second: NonZeroU64) -> Self {
        Self {
            inner,
            reads: true,
            turns: Turns::new(bytes_per_second),
        }
    }

    /// The same for what is stored alone: reading is not held back.
    pub fn uploads(inner: B, bytes_per_second: NonZeroU64) -> Self {
        Self {
            reads: false,
            ..Self::new(inner, bytes_per_second)
        }
    }

    async fn wait_for(&self, bytes: u64) {
        self.turns.wait_for(bytes).await;
    }

    async fn wait_after_reading(&self, body: &Bytes) {
        if self.reads {
            self.wait_for(body.len() as u64).await;
        }
    }
}

impl Turns {
    pub(super) fn new(per_second: NonZeroU64) -> Self {
        Self {
            per_second,
            paid_at: Mutex::new(Instant::now()),
        }
    }

    /// Books so much and says until when to wait.
    fn book(&self, now: Instant, count: u64) -> Instant {
        let price = price(count, self.per_second);
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        // What was not used longer ago than the burst is lost.
        let filled = now.checked_sub(BURST).unwrap_or(now);
        let turn = (*paid_at).max(filled);
        *paid_at = turn + price;
        turn
    }

    pub(super) async fn wait_for(&self, count: u64) {
        let turn = self.book(Instant::now(), count);
        tokio::time::sleep_until(turn).await;
    }
}

/// How long so many take. At most a day: a caller's absurd range must not block all others.
fn price(count: u64, per_second: NonZeroU64) -> Duration {
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    let nanos = u128::from(count) * 1_000_000_000 / u128::from(per_second.get());
    u64::try_from(nanos).map_or(LONGEST, |nanos| Duration::from_nanos(nanos).min(LONGEST))
}

#[async_trait]
impl<B: Backend> Backend for Throttled<B> {
    fn properties(&self) -> Properties {
        self.inner.properties()
    }

    async fn put(&self, name: &ObjectName, body: Bytes) -> Result<(), Error> {
        self.wait_for(body.len() as u64).await;
        self.inner.put(name, body).await
    }

    /// How much it will be is known only afterwards, so that the caller waits afterwards.
    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error> {
        let body = self.inner.get(name, max_size).await?;
        self.wait_after_reading(&body).await;
        Ok(body)
    }

    async fn get_many(&self, names: &[ObjectName], max_size: u64) -> Vec<Result<Bytes, Error>> {
        let outcomes = self.inner.get_many(names, max_size).await;
        for body in outcomes.iter().flatten() {
            self.wait_after_reading(body).await;
        }
        outcomes
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes, Error> {
        let body = self.inner.get_range(name, range).await?;
        self.wait_after_reading(&body).await;
        Ok(body)
    }

    async fn stat(&self, name: &ObjectName) -> Result<ObjectMeta, Error> {
        self.inner.stat(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, Error> {
        self.inner.list(prefix).await
    }

    async fn settle(&self, prefix: &str) -> Result<(), Error> {
        self.inner.settle(prefix).await
    }

    async fn retain_until(&self, name: &ObjectName, until: SystemTime) -> Result<Retained, Error> {
        self.inner.retain_until(name, until).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.inner.delete(name).await
    }

    async fn sweep(&self, min_age: Duration) -> Result<u64, Error> {
        self.inner.sweep(min_age).await
    }
}
