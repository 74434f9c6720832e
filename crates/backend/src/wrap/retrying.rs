//! Trying again what may succeed a little later.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Backend, Error, ErrorKind, ObjectMeta, ObjectName, Properties, Retained};

/// How often, and how far apart. No jitter: the same faults give the same history, and the
/// number of requests at once is bounded elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Calls in all, the first included; 0 means 1.
    pub attempts: u32,
    /// Pause before the second call; doubled before each further one.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
}

impl Default for Backoff {
    /// Six calls within about six seconds: over a hiccup, not over an outage, which is the job
    /// engine's to wait for.
    fn default() -> Self {
        Self {
            attempts: 6,
            first: Duration::from_millis(200),
            longest: Duration::from_secs(5),
        }
    }
}

impl Backoff {
    /// The pause after the `failed`th failure, counted from 1; `None` when it was the last.
    fn pause_after(&self, failed: u32) -> Option<Duration> {
        let doubled = 1_u32
            .checked_shl(failed.saturating_sub(1))
            .unwrap_or(u32::MAX);
        (failed < self.attempts).then(|| self.first.saturating_mul(doubled).min(self.longest))
    }
}

/// Repeats calls that fail with a transient kind ([`ErrorKind::is_transient`]), and no others.
///
/// # A put whose answer was lost
/// It may have happened, and the next attempt finds the name taken: by us, or by somebody else.
/// The content decides: equal bytes are success, other bytes are `AlreadyExists`. So racers for
/// whom *who* won matters must put different bytes (their own id).
#[derive(Debug)]
pub struct Retrying<B> {
    inner: B,
    backoff: Backoff,
}

impl<B: Backend> Retrying<B> {
    /// Repeats calls of `inner`.
    pub fn new(inner: B, backoff: Backoff) -> Self {
        Self { inner, backoff }
    }

    /// Calls until it succeeds, fails for good, or was tried often enough.
    async fn retry<T, C>(&self, mut call: impl FnMut() -> C + Send) -> Result<T, Error>
    where
        C: Future<Output = Result<T, Error>> + Send,
    {
        let mut failed = 0;
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            failed += 1;
            match self.backoff.pause_after(failed) {
                Some(pause) if error.kind().is_transient() => tokio::time::sleep(pause).await,
                _ => return Err(error),
            }
        }
    }

    /// Whether the object that has the name is the one that was put.
    async fn is_ours(&self, name: &ObjectName, body: &Bytes) -> Result<bool, Error> {
        match self.get(name, body.len() as u64).await {
            Ok(there) => Ok(there == *body),
            // Larger than ours.
            Err(error) if error.kind() == ErrorKind::BadRange => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl<B: Backend> Backend for Retrying<B> {
    fn properties(&self) -> Properties {
        self.inner.properties()
    }

    async fn put(&self, name: &ObjectName, body: Bytes) -> Result<(), Error> {
        let mut attempts = 0_u32;
        let put = self.retry(|| {
            attempts = attempts.saturating_add(1);
            self.inner.put(name, body.clone())
        });
        match put.await {
            Err(taken) if taken.kind() == ErrorKind::AlreadyExists && attempts > 1 => {
                match self.is_ours(name, &body).await? {
                    true => Ok(()),
                    false => Err(taken),
                }
            }
            outcome => outcome,
        }
    }

    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error> {
        self.retry(|| self.inner.get(name, max_size)).await
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes, Error> {
        self.retry(|| self.inner.get_range(name, range.clone()))
            .await
    }

    async fn stat(&self, name: &ObjectName) -> Result<ObjectMeta, Error> {
        self.retry(|| self.inner.stat(name)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, Error> {
        self.retry(|| self.inner.list(prefix)).await
    }

    async fn settle(&self, prefix: &str) -> Result<(), Error> {
        self.retry(|| self.inner.settle(prefix)).await
    }

    async fn retain_until(&self, name: &ObjectName, until: SystemTime) -> Result<Retained, Error> {
        self.retry(|| self.inner.retain_until(name, until)).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.retry(|| self.inner.delete(name)).await
    }

    async fn sweep(&self, min_age: Duration) -> Result<u64, Error> {
        self.retry(|| self.inner.sweep(min_age)).await
    }
}
