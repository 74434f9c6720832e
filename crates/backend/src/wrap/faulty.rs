//! Failing on purpose, for tests.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::Verb;
use crate::{Backend, Error, ErrorKind, ObjectMeta, ObjectName, Properties, Retained};

/// A rule: which calls fail, and how. Without a condition it is every call.
#[derive(Debug)]
pub struct Fault {
    kind: ErrorKind,
    verb: Option<Verb>,
    fragment: String,
    calls: Range<u64>,
    takes_effect: bool,
    matched: AtomicU64,
}

impl Fault {
    /// Calls fail with `kind`.
    #[must_use]
    pub fn new(kind: ErrorKind) -> Self {
        Self {
            kind,
            verb: None,
            fragment: String::new(),
            calls: 0..u64::MAX,
            takes_effect: false,
            matched: AtomicU64::new(0),
        }
    }

    /// Only calls of this verb.
    #[must_use]
    pub fn on(mut self, verb: Verb) -> Self {
        self.verb = Some(verb);
        self
    }

    /// Only objects or prefixes that contain this text.
    #[must_use]
    pub fn named(mut self, fragment: impl Into<String>) -> Self {
        self.fragment = fragment.into();
        self
    }

    /// Only these of the calls that match otherwise, counted from 0.
    #[must_use]
    pub fn calls(mut self, calls: Range<u64>) -> Self {
        self.calls = calls;
        self
    }

    /// The call takes effect and fails all the same: its answer is lost on the way.
    #[must_use]
    pub fn after_effect(mut self) -> Self {
        self.takes_effect = true;
        self
    }

    /// Whether this call is to fail. Counts it if it matches.
    fn strikes(&self, verb: Verb, object: &str) -> bool {
        self.verb.is_none_or(|wanted| wanted == verb)
            && object.contains(&self.fragment)
            && self
                .calls
                .contains(&self.matched.fetch_add(1, Ordering::Relaxed))
    }
}

/// Fails where its rules say so; the first rule that strikes decides.
#[derive(Debug)]
pub struct Faulty<B> {
    inner: B,
    faults: Vec<Fault>,
}

impl<B: Backend> Faulty<B> {
    /// Makes `inner` fail by these rules.
    pub fn new(inner: B, faults: Vec<Fault>) -> Self {
        Self { inner, faults }
    }

    async fn pass<T: Send>(
        &self,
        verb: Verb,
        object: &str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let Some(fault) = self.faults.iter().find(|fault| fault.strikes(verb, object)) else {
            return call.await;
        };
        if fault.takes_effect {
            // Its outcome is what the caller is not told.
            let _lost = call.await;
        }
        Err(Error::new(fault.kind, verb.name(), object).because("a planted fault"))
    }
}

#[async_trait]
impl<B: Backend> Backend for Faulty<B> {
    fn properties(&self) -> Properties {
        self.inner.properties()
    }

    async fn put(&self, name: &ObjectName, body: Bytes) -> Result<(), Error> {
        let call = self.inner.put(name, body);
        self.pass(Verb::Put, name.as_str(), call).await
    }

    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error> {
        let call = self.inner.get(name, max_size);
        self.pass(Verb::Get, name.as_str(), call).await
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes, Error> {
        let call = self.inner.get_range(name, range);
        self.pass(Verb::GetRange, name.as_str(), call).await
    }

    async fn stat(&self, name: &ObjectName) -> Result<ObjectMeta, Error> {
        let call = self.inner.stat(name);
        self.pass(Verb::Stat, name.as_str(), call).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, Error> {
        let call = self.inner.list(prefix);
        self.pass(Verb::List, prefix, call).await
    }

    async fn settle(&self, prefix: &str) -> Result<(), Error> {
        let call = self.inner.settle(prefix);
        self.pass(Verb::Settle, prefix, call).await
    }

    async fn retain_until(&self, name: &ObjectName, until: SystemTime) -> Result<Retained, Error> {
        let call = self.inner.retain_until(name, until);
        self.pass(Verb::Retain, name.as_str(), call).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let call = self.inner.delete(name);
        self.pass(Verb::Delete, name.as_str(), call).await
    }

    async fn sweep(&self, min_age: Duration) -> Result<u64, Error> {
        let call = self.inner.sweep(min_age);
        self.pass(Verb::Sweep, "", call).await
    }
}
