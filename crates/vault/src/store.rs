//! The backend, seen as a vault's objects: names are checked and errors say which object.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tresor_backend::{Backend, ErrorKind as StorageKind, ObjectMeta, ObjectName, Retained};

use crate::error::{Error, Result};

#[derive(Clone)]
pub(crate) struct Store {
    backend: Arc<dyn Backend>,
}

/// How a `put` of a name that only one can have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutOutcome {
    Stored,
    NameTaken,
}

impl Store {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend }
    }

    pub(crate) fn location(&self) -> String {
        self.backend.properties().location
    }

    pub(crate) fn parallelism(&self) -> usize {
        self.backend.properties().parallelism.clamp(1, 64)
    }

    pub(crate) async fn put(&self, name: &str, body: Bytes) -> Result<PutOutcome> {
        match self.backend.put(&object(name)?, body).await {
            Ok(()) => Ok(PutOutcome::Stored),
            Err(error) if error.kind() == StorageKind::AlreadyExists => Ok(PutOutcome::NameTaken),
            Err(error) => Err(Error::storage(name, error)),
        }
    }

    /// Stores an object whose name only this caller uses. When the name is taken, an earlier try
    /// of ours may have arrived though its answer did not: its bytes tell.
    pub(crate) async fn put_new(&self, name: &str, body: Bytes) -> Result<()> {
        if self.put(name, body.clone()).await? == PutOutcome::Stored {
            return Ok(());
        }
        if self.get(name, body.len()).await? == body {
            return Ok(());
        }
        Err(Error::damaged(
            name,
            "somebody else put an object of this name",
        ))
    }

    pub(crate) async fn get(&self, name: &str, limit: usize) -> Result<Bytes> {
        let limit = limit as u64;
        let got = self.backend.get(&object(name)?, limit).await;
        got.map_err(|error| Error::storage(name, error))
    }

    /// Whole objects of at most so many bytes, in the order of their names. All are held.
    pub(crate) async fn get_many(&self, names: &[&str], limit: usize) -> Vec<Result<Bytes>> {
        let checked: Result<Vec<_>> = names.iter().map(|name| object(name)).collect();
        let bodies = match checked {
            Ok(checked) => self.backend.get_many(&checked, limit as u64).await,
            Err(error) => return names.iter().map(|_| Err(error.clone())).collect(),
        };
        let bodies = names.iter().zip(bodies);
        bodies
            .map(|(name, body)| body.map_err(|error| Error::storage(name, error)))
            .collect()
    }

    /// `None` when it is not there.
    pub(crate) async fn find(&self, name: &str, limit: usize) -> Result<Option<Bytes>> {
        match self.backend.get(&object(name)?, limit as u64).await {
            Ok(body) => Ok(Some(body)),
            Err(error) if error.kind() == StorageKind::NotFound => Ok(None),
            Err(error) => Err(Error::storage(name, error)),
        }
    }

    pub(crate) async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let got = self.backend.get_range(&object(name)?, range).await;
        got.map_err(|error| Error::storage(name, error))
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        let listed = self.backend.list(prefix).await;
        listed.map_err(|error| Error::storage(prefix, error))
    }

    /// Size in bytes; `None` when it is not there.
    pub(crate) async fn stat(&self, name: &str) -> Result<Option<u64>> {
        match self.backend.stat(&object(name)?).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(error) if error.kind() == StorageKind::NotFound => Ok(None),
            Err(error) => Err(Error::storage(name, error)),
        }
    }

    /// Deletes an object, unless the storage holds it: says whether it is gone.
    pub(crate) async fn delete_unless_held(&self, name: &str) -> Result<bool> {
        match self.delete(name).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_retained() => {
                tracing::warn!(object = name, "the storage holds it: it stays");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Only collect may, and only what a plan allows.
    pub(crate) async fn delete(&self, name: &str) -> Result<()> {
        let deleted = self.backend.delete(&object(name)?).await;
        deleted.map_err(|error| Error::storage(name, error))
    }

    pub(crate) async fn retain_until(&self, name: &str, until: SystemTime) -> Result<Retained> {
        let retained = self.backend.retain_until(&object(name)?, until).await;
        retained.map_err(|error| Error::storage(name, error))
    }

    pub(crate) async fn settle(&self, prefix: &str) -> Result<()> {
        let settled = self.backend.settle(prefix).await;
        settled.map_err(|error| Error::storage(prefix, error))
    }
}

fn object(name: &str) -> Result<ObjectName> {
    ObjectName::new(name).map_err(|error| Error::misuse("object names are valid").because(error))
}
