//! Limiting the rate of requests.

use std::num::NonZeroU64;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::throttled::Turns;
use crate::{Backend, Error, ObjectMeta, ObjectName, Properties};

/// Limits the calls per second, over all callers, in the order in which they come: for stores that
/// allow so many, or charge for each. After a pause, those of one second pass at once.
#[derive(Debug)]
pub struct Paced<B> {
    inner: B,
    turns: Turns,
}

impl<B> Paced<B> {
    /// Limits `inner` to so many calls per second.
    pub fn new(inner: B, calls_per_second: NonZeroU64) -> Self {
        Self {
            inner,
            turns: Turns::new(calls_per_second),
        }
    }
}

#[async_trait]
impl<B: Backend> Backend for Paced<B> {
    fn properties(&self) -> Properties {
        self.inner.properties()
    }

    async fn put(&self, name: &ObjectName, body: Bytes) -> Result<(), Error> {
        self.turns.wait_for(1).await;
        self.inner.put(name, body).await
    }

    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error> {
        self.turns.wait_for(1).await;
        self.inner.get(name, max_size).await
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes, Error> {
        self.turns.wait_for(1).await;
        self.inner.get_range(name, range).await
    }

    async fn stat(&self, name: &ObjectName) -> Result<ObjectMeta, Error> {
        self.turns.wait_for(1).await;
        self.inner.stat(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, Error> {
        self.turns.wait_for(1).await;
        self.inner.list(prefix).await
    }

    async fn settle(&self, prefix: &str) -> Result<(), Error> {
        self.inner.settle(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.turns.wait_for(1).await;
        self.inner.delete(name).await
    }

    async fn sweep(&self, min_age: Duration) -> Result<u64, Error> {
        self.turns.wait_for(1).await;
        self.inner.sweep(min_age).await
    }
}
