//! Keeping copies of small objects on this machine.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Backend, Error, ObjectMeta, ObjectName, Properties, Retained};

/// Length of the hash in front of a copy's bytes.
const HASH: usize = 32;

/// Reads objects whose names begin with one of some prefixes from copies in a directory, and from
/// the store only the first time. Objects are write-once, so a copy is never out of date.
///
/// What is there, lists tell, which always come from the store: whoever gets an object that no list
/// showed may see one that is gone. Nobody who looks for damage should read through this.
///
/// # After a crash
/// A copy carries its hash: one that is half written is read from the store again. Copies that
/// cannot be kept (no space) cost only time.
#[derive(Debug)]
pub struct Kept<B> {
    inner: B,
    dir: PathBuf,
    prefixes: &'static [&'static str],
}

impl<B> Kept<B> {
    /// Keeps copies of what `inner` has under `prefixes` in `dir`, which is for this store alone.
    pub fn new(inner: B, dir: PathBuf, prefixes: &'static [&'static str]) -> Self {
        Self {
            inner,
            dir,
            prefixes,
        }
    }

    /// Where the copy of an object is, if it is of those that are kept.
    fn place(&self, name: &ObjectName) -> Option<PathBuf> {
        let name = name.as_str();
        let kept = self.prefixes.iter().any(|prefix| name.starts_with(prefix));
        // Names have no part that leads out of the directory.
        kept.then(|| self.dir.join(name))
    }
}

/// The copy, when it is whole.
async fn read(place: &Path, max_size: u64) -> Option<Bytes> {
    let size = tokio::fs::metadata(place).await.ok()?.len();
    if size > max_size.saturating_add(HASH as u64) {
        return None;
    }
    let copy = Bytes::from(tokio::fs::read(place).await.ok()?);
    let (hash, body) = (copy.get(..HASH)?, copy.get(HASH..)?);
    (blake3::hash(body).as_bytes() == hash).then(|| copy.slice(HASH..))
}

async fn keep(place: &Path, body: &Bytes) {
    let copy = [blake3::hash(body).as_bytes(), &body[..]].concat();
    let write = async {
        if let Some(dir) = place.parent() {
            tokio::fs::create_dir_all(dir).await?;
        }
        tokio::fs::write(place, copy).await
    };
    if let Err(error) = write.await {
        tracing::debug!(place = %place.display(), %error, "a copy is not kept");
    }
}

#[async_trait]
impl<B: Backend> Backend for Kept<B> {
    fn properties(&self) -> Properties {
        self.inner.properties()
    }

    async fn put(&self, name: &ObjectName, body: Bytes) -> Result<(), Error> {
        self.inner.put(name, body.clone()).await?;
        if let Some(place) = self.place(name) {
            keep(&place, &body).await;
        }
        Ok(())
    }

    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error> {
        let Some(place) = self.place(name) else {
            return self.inner.get(name, max_size).await;
        };
        if let Some(body) = read(&place, max_size).await {
            return Ok(body);
        }
        let body = self.inner.get(name, max_size).await?;
        keep(&place, &body).await;
        Ok(body)
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

    async fn settle(&self, prefix: &str) -> Result<(), Error> {
        self.inner.settle(prefix).await
    }

    async fn retain_until(&self, name: &ObjectName, until: SystemTime) -> Result<Retained, Error> {
        self.inner.retain_until(name, until).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        if let Some(place) = self.place(name) {
            // A copy that stays is not asked for: no list shows its name.
            drop(tokio::fs::remove_file(place).await);
        }
        self.inner.delete(name).await
    }

    async fn sweep(&self, min_age: Duration) -> Result<u64, Error> {
        self.inner.sweep(min_age).await
    }
}
