//! Keeping copies of small objects on this machine.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};

use crate::{Backend, Error, ErrorKind, ObjectMeta, ObjectName, Properties, Retained};

/// Blocking threads that are used at once.
const AT_ONCE: usize = 4;

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

/// Copies that are read or written one after the other on one blocking thread.
const TOGETHER: usize = 64;

/// The copy, when it is whole.
fn read(place: &Path, max_size: u64) -> Option<Bytes> {
    let mut file = File::open(place).ok()?;
    let size = file.metadata().ok()?.len();
    if size > max_size.saturating_add(HASH as u64) {
        return None;
    }
    let mut copy = Vec::with_capacity(usize::try_from(size).ok()?);
    file.read_to_end(&mut copy).ok()?;
    let copy = Bytes::from(copy);
    let (hash, body) = (copy.get(..HASH)?, copy.get(HASH..)?);
    (blake3::hash(body).as_bytes() == hash).then(|| copy.slice(HASH..))
}

fn keep(place: &Path, body: &Bytes) {
    let copy = [blake3::hash(body).as_bytes(), &body[..]].concat();
    let written = match std::fs::write(place, &copy) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = place.parent().map_or(Ok(()), std::fs::create_dir_all);
            made.and_then(|()| std::fs::write(place, &copy))
        }
        written => written,
    };
    if let Err(error) = written {
        tracing::debug!(place = %place.display(), %error, "a copy is not kept");
    }
}

/// Reads copies, each answer in the place of its question; none when the runtime is shutting down.
async fn read_each(places: Vec<Option<PathBuf>>, max_size: u64) -> Vec<Option<Bytes>> {
    let lots: Vec<_> = places.chunks(TOGETHER).map(<[_]>::to_vec).collect();
    let read_lot = |places: Vec<Option<PathBuf>>| async move {
        let count = places.len();
        let job = move || {
            let places = places.iter();
            let read = places.map(|place| read(place.as_deref()?, max_size));
            read.collect::<Vec<_>>()
        };
        let read = tokio::task::spawn_blocking(job).await;
        read.unwrap_or_else(|_| vec![None; count])
    };
    let read: Vec<Vec<_>> = stream::iter(lots)
        .map(read_lot)
        .buffered(AT_ONCE)
        .collect()
        .await;
    read.into_iter().flatten().collect()
}

/// Keeps copies. What cannot be kept is read again another time.
async fn keep_each(copies: Vec<(PathBuf, Bytes)>) {
    let mut copies = copies.into_iter().peekable();
    let jobs = std::iter::from_fn(|| {
        copies.peek()?;
        Some(copies.by_ref().take(TOGETHER).collect::<Vec<_>>())
    });
    let jobs = jobs.map(|copies| {
        tokio::task::spawn_blocking(move || {
            for (place, body) in &copies {
                keep(place, body);
            }
        })
    });
    stream::iter(jobs)
        .for_each_concurrent(AT_ONCE, async |job| drop(job.await))
        .await;
}

#[async_trait]
impl<B: Backend> Backend for Kept<B> {
    fn properties(&self) -> Properties {
        self.inner.properties()
    }

    async fn put(&self, name: &ObjectName, body: Bytes) -> Result<(), Error> {
        self.inner.put(name, body.clone()).await?;
        if let Some(place) = self.place(name) {
            keep_each(vec![(place, body)]).await;
        }
        Ok(())
    }

    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error> {
        let Some(place) = self.place(name) else {
            return self.inner.get(name, max_size).await;
        };
        let copy = read_each(vec![Some(place.clone())], max_size).await;
        if let Some(body) = copy.into_iter().next().flatten() {
            return Ok(body);
        }
        let body = self.inner.get(name, max_size).await?;
        keep_each(vec![(place, body.clone())]).await;
        Ok(body)
    }

    async fn get_many(&self, names: &[ObjectName], max_size: u64) -> Vec<Result<Bytes, Error>> {
        let places: Vec<_> = names.iter().map(|name| self.place(name)).collect();
        let copies = read_each(places.clone(), max_size).await;
        let mut bodies: Vec<_> = copies.into_iter().map(|copy| copy.map(Ok)).collect();
        let missing = (0..).zip(&bodies).filter(|(_, body)| body.is_none());
        let missing: Vec<usize> = missing.map(|(at, _)| at).collect();
        let wanted: Vec<_> = missing.iter().map(|at| names[*at].clone()).collect();
        let mut fresh = Vec::new();
        if !wanted.is_empty() {
            let read = self.inner.get_many(&wanted, max_size).await;
            for (at, body) in missing.into_iter().zip(read) {
                if let (Some(place), Ok(body)) = (&places[at], &body) {
                    fresh.push((place.clone(), body.clone()));
                }
                bodies[at] = Some(body);
            }
        }
        keep_each(fresh).await;
        let unanswered = |name: &ObjectName| Error::new(ErrorKind::Io, "get", name.as_str());
        let answers = names.iter().zip(bodies);
        answers
            .map(|(name, body)| body.unwrap_or_else(|| Err(unanswered(name))))
            .collect()
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
