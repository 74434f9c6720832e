//! Refusing every change.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::Verb;
use crate::{Backend, Error, ErrorKind, ObjectMeta, ObjectName, Properties, Retained};

/// Lets reads through and refuses the rest, for restores and checks that must not change
/// anything, whatever the credentials allow.
#[derive(Debug)]
pub struct ReadOnly<B> {
    inner: B,
}

impl<B> ReadOnly<B> {
    /// Refuses changes to `inner`.
    pub fn new(inner: B) -> Self {
        Self { inner }
    }
}

fn refused(verb: Verb, object: &str) -> Error {
    Error::new(ErrorKind::Denied, verb.name(), object).because("the store was opened to read only")
}

#[async_trait]
impl<B: Backend> Backend for ReadOnly<B> {
    fn properties(&self) -> Properties {
        self.inner.properties()
    }

    async fn put(&self, name: &ObjectName, _body: Bytes) -> Result<(), Error> {
        Err(refused(Verb::Put, name.as_str()))
    }

    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error> {
        self.inner.get(name, max_size).await
    }

    async fn get_many(&self, names: &[ObjectName], max_size: u64) -> Vec<Result<Bytes, Error>> {
        self.inner.get_many(names, max_size).await
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes, Error> {
        self.inner.get_range(name, range).await
    }

    async fn stat(&self, name: &ObjectName) -> Result<ObjectMeta, Error> {
        self.inner.stat(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, Error> {
        self.inner.list(prefix).await
    }

    /// Changes no object, but writes to the disk: refused, since who cannot write has nothing
    /// that could come to depend on what it saw.
    async fn settle(&self, prefix: &str) -> Result<(), Error> {
        Err(refused(Verb::Settle, prefix))
    }

    async fn retain_until(&self, name: &ObjectName, until: SystemTime) -> Result<Retained, Error> {
        let _ = until;
        Err(refused(Verb::Retain, name.as_str()))
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        Err(refused(Verb::Delete, name.as_str()))
    }

    async fn sweep(&self, _min_age: Duration) -> Result<u64, Error> {
        Err(refused(Verb::Sweep, ""))
    }
}
