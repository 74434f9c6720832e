//! Counting calls and bytes.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::Verb;
use crate::{Backend, Error, ObjectMeta, ObjectName, Properties, Retained};

/// What one verb was used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerbUsage {
    /// Calls that ended, well or not. A call that was dropped counts nowhere.
    pub calls: u64,
    /// Of these, those that failed.
    pub failures: u64,
    /// Bytes of bodies that were stored or read.
    pub bytes: u64,
}

/// What a backend was used for. The numbers are read one after the other, so calls that end
/// meanwhile may be in some and not in others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage([VerbUsage; Verb::ALL.len()]);

impl Usage {
    /// The numbers of one verb.
    #[must_use]
    pub fn of(&self, verb: Verb) -> VerbUsage {
        self.0[verb as usize]
    }
}

#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    failures: AtomicU64,
    bytes: AtomicU64,
}

/// Counts what passes through.
#[derive(Debug)]
pub struct Metered<B> {
    inner: B,
    counters: [Counters; Verb::ALL.len()],
}

impl<B> Metered<B> {
    /// Counts what `inner` is used for from now on.
    pub fn new(inner: B) -> Self {
        Self {
            inner,
            counters: Default::default(),
        }
    }

    /// The numbers so far.
    #[must_use]
    pub fn snapshot(&self) -> Usage {
        Usage(self.counters.each_ref().map(|counters| VerbUsage {
            calls: counters.calls.load(Ordering::Relaxed),
            failures: counters.failures.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
        }))
    }

    fn count<T>(
        &self,
        verb: Verb,
        outcome: Result<T, Error>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Result<T, Error> {
        let counters = &self.counters[verb as usize];
        counters.calls.fetch_add(1, Ordering::Relaxed);
        match &outcome {
            Ok(value) => {
                let bytes = bytes(value) as u64;
                counters.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Err(_) => {
                counters.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        outcome
    }
}

#[async_trait]
impl<B: Backend> Backend for Metered<B> {
    fn properties(&self) -> Properties {
        self.inner.properties()
    }

    async fn put(&self, name: &ObjectName, body: Bytes) -> Result<(), Error> {
        let len = body.len();
        let outcome = self.inner.put(name, body).await;
        self.count(Verb::Put, outcome, |()| len)
    }

    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error> {
        let outcome = self.inner.get(name, max_size).await;
        self.count(Verb::Get, outcome, Bytes::len)
    }

    /// Each object is a get.
    async fn get_many(&self, names: &[ObjectName], max_size: u64) -> Vec<Result<Bytes, Error>> {
        let outcomes = self.inner.get_many(names, max_size).await.into_iter();
        outcomes
            .map(|outcome| self.count(Verb::Get, outcome, Bytes::len))
            .collect()
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes, Error> {
        let outcome = self.inner.get_range(name, range).await;
        self.count(Verb::GetRange, outcome, Bytes::len)
    }

    async fn stat(&self, name: &ObjectName) -> Result<ObjectMeta, Error> {
        let outcome = self.inner.stat(name).await;
        self.count(Verb::Stat, outcome, |_| 0)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, Error> {
        let outcome = self.inner.list(prefix).await;
        self.count(Verb::List, outcome, |_| 0)
    }

    async fn settle(&self, prefix: &str) -> Result<(), Error> {
        let outcome = self.inner.settle(prefix).await;
        self.count(Verb::Settle, outcome, |()| 0)
    }

    async fn retain_until(&self, name: &ObjectName, until: SystemTime) -> Result<Retained, Error> {
        let outcome = self.inner.retain_until(name, until).await;
        self.count(Verb::Retain, outcome, |_| 0)
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let outcome = self.inner.delete(name).await;
        self.count(Verb::Delete, outcome, |()| 0)
    }

    async fn sweep(&self, min_age: Duration) -> Result<u64, Error> {
        let outcome = self.inner.sweep(min_age).await;
        self.count(Verb::Sweep, outcome, |_| 0)
    }
}
