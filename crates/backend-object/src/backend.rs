//! The port, in requests.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use jiff::SignedDuration;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload,
};
use tokio::sync::OnceCell;
use tresor_backend::{
    Backend, Error, ErrorKind, ObjectMeta, ObjectName, Part, Properties, Retained,
};

use crate::connect::{self, Connected, Direct};
use crate::failure::failed;
use crate::wire::{Wire, watch};
use crate::{ConnectError, LockMode, Place, Provider, Secrets, Settings};

/// Requests at once: a store far away is slow each and fast together.
const PARALLELISM: usize = 32;
/// An answer, or the next piece of one, comes within this time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// A line slower than this (bytes per second) is taken for a dead one.
const SLOWEST: u64 = 64 << 10;
/// No object is so large; a range that ends behind it is judged by the object's size.
const FAR: u64 = 1 << 46;

/// Keeps objects in a bucket.
pub struct ObjectBackend {
    pub(crate) place: Place,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) direct: Option<Direct>,
    pub(crate) wire: Arc<Wire>,
    /// How what is to stay is held; `None`: not by the store.
    pub(crate) lock_mode: Option<LockMode>,
    /// Whether the bucket has Object Lock, once that was asked.
    pub(crate) object_lock: OnceCell<bool>,
}

impl ObjectBackend {
    /// Makes a client; sends nothing yet.
    ///
    /// # Errors
    /// When settings or secrets make no sense.
    pub fn open(
        place: Place,
        settings: &Settings,
        secrets: &Secrets,
    ) -> Result<Self, ConnectError> {
        let wire = Arc::new(Wire::default());
        let Connected { store, direct } = connect::connect(&place, settings, secrets, &wire)?;
        Ok(Self {
            place,
            store,
            direct,
            wire,
            lock_mode: settings.object_lock.mode(),
            object_lock: OnceCell::new(),
        })
    }

    /// PUT requests sent so far.
    #[must_use]
    pub fn puts_sent(&self) -> u64 {
        self.wire.puts()
    }

    /// Requests sent so far, of any kind.
    #[must_use]
    pub fn requests_sent(&self) -> u64 {
        self.wire.requests()
    }

    /// The server's clock minus ours, by its last answer that had a date.
    #[must_use]
    pub fn clock_difference(&self) -> Option<SignedDuration> {
        self.wire.skew()
    }

    pub(crate) fn path(&self, operation: &'static str, name: &str) -> Result<Path, Error> {
        Path::parse(self.place.key(name))
            .map_err(|error| Error::new(ErrorKind::Io, operation, name).because(error))
    }

    /// Runs a call with a limit on its time, and makes errors ours.
    pub(crate) async fn call<T: Send>(
        &self,
        operation: &'static str,
        object: &str,
        limit: Duration,
        call: impl Future<Output = object_store::Result<T>> + Send,
    ) -> Result<T, Error> {
        match tokio::time::timeout(limit, watch(call)).await {
            Ok((Ok(value), _)) => Ok(value),
            Ok((Err(error), seen)) => Err(failed(operation, object, &error, seen.as_ref())),
            Err(late) => Err(Error::new(ErrorKind::Unavailable, operation, object).because(late)),
        }
    }

    /// Asks for an object or a part of it; the size is known before the body is read.
    async fn read(
        &self,
        operation: &'static str,
        name: &ObjectName,
        part: &Part,
    ) -> Result<Bytes, Error> {
        let path = self.path(operation, name.as_str())?;
        let range = match part {
            Part::Range(range) => Some(GetRange::Bounded(range.clone())),
            Part::Whole(_) => None,
        };
        let options = GetOptions {
            range,
            ..GetOptions::default()
        };
        let get = self.store.get_opts(&path, options);
        let answer = self.call(operation, name.as_str(), PATIENCE, get).await?;
        let place = part.place_in(answer.meta.size);
        let bad_range = || Error::new(ErrorKind::BadRange, operation, name.as_str());
        let (start, len) = place.ok_or_else(bad_range)?;
        let cut = || Error::new(ErrorKind::Unavailable, operation, name.as_str());
        if answer.range != (start..start + len as u64) {
            return Err(cut().because("the server answered another range"));
        }
        collect(answer, len).await.map_err(|why| cut().because(why))
    }

    async fn look(&self, operation: &'static str, name: &ObjectName) -> Result<u64, Error> {
        let path = self.path(operation, name.as_str())?;
        let head = self.call(operation, name.as_str(), PATIENCE, self.store.head(&path));
        Ok(head.await?.size)
    }
}

/// The body, which must be exactly `len` bytes.
async fn collect(answer: GetResult, len: usize) -> Result<Bytes, String> {
    let mut pieces = answer.into_stream();
    let mut body = BytesMut::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, pieces.next()).await;
        match next.map_err(|_| "the answer stopped".to_owned())? {
            Some(Ok(piece)) if body.len() + piece.len() <= len => {
                // Room for the rest at once, when it is not the only piece.
                if body.is_empty() && piece.len() == len {
                    return Ok(piece);
                }
                body.reserve(len - body.len());
                body.extend_from_slice(&piece);
            }
            Some(Ok(_)) => return Err("the answer is too long".to_owned()),
            Some(Err(_)) => return Err("the answer was cut".to_owned()),
            None if body.len() == len => return Ok(body.freeze()),
            None => return Err("the answer is too short".to_owned()),
        }
    }
}

/// How long a body may take to send.
fn limit_for(bytes: usize) -> Duration {
    PATIENCE + Duration::from_secs(bytes as u64 / SLOWEST)
}

/// What to list for a prefix that ends at any byte: whole segments, since that is what the library
/// lists. `None` when no object name begins so.
fn plan_list(prefix: &str) -> Option<&str> {
    match prefix.rsplit_once('/') {
        None => Some(""),
        Some((dir, _)) => ObjectName::new(dir).is_ok().then_some(dir),
    }
}

#[async_trait]
impl Backend for ObjectBackend {
    fn properties(&self) -> Properties {
        Properties {
            location: self.place.to_string(),
            parallelism: PARALLELISM,
        }
    }

    async fn put(&self, name: &ObjectName, body: Bytes) -> Result<(), Error> {
        let path = self.path("put", name.as_str())?;
        let limit = limit_for(body.len());
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        let put = self
            .store
            .put_opts(&path, PutPayload::from_bytes(body), options);
        self.call("put", name.as_str(), limit, put).await.map(drop)
    }

    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error> {
        self.read("get", name, &Part::Whole(max_size)).await
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes, Error> {
        let part = Part::Range(range.clone());
        if range.start < range.end && range.end <= FAR {
            let read = self.read("get_range", name, &part).await;
            match read {
                // Some answer a range that they do not have with something else than an error.
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    let size = self.look("get_range", name).await?;
                    let kind = ErrorKind::BadRange;
                    let bad_range = Error::new(kind, "get_range", name.as_str());
                    return Err(part.place_in(size).map_or(bad_range, |_| error));
                }
                outcome => return outcome,
            }
        }
        // HTTP has no empty range, and servers differ in what they make of absurd ones.
        let size = self.look("get_range", name).await?;
        match part.place_in(size) {
            Some(_) => Ok(Bytes::new()),
            None => Err(Error::new(ErrorKind::BadRange, "get_range", name.as_str())),
        }
    }

    async fn stat(&self, name: &ObjectName) -> Result<ObjectMeta, Error> {
        let size = self.look("stat", name).await?;
        Ok(ObjectMeta {
            name: name.clone(),
            size,
        })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, Error> {
        let Some(dir) = plan_list(prefix) else {
            return Ok(Vec::new());
        };
        let path = self.path("list", dir)?;
        let below = match self.place.prefix.len() {
            0 => 0,
            len => len + 1,
        };
        let mut found = Vec::new();
        let mut listing = self.store.list(Some(&path));
        loop {
            let next = async { listing.next().await.transpose() };
            let Some(meta) = self.call("list", prefix, PATIENCE, next).await? else {
                break;
            };
            let name = meta.location.as_ref().get(below..).unwrap_or_default();
            // Foreign objects are not listed.
            let Ok(name) = ObjectName::new(name) else {
                continue;
            };
            if name.as_str().starts_with(prefix) {
                found.push(ObjectMeta {
                    name,
                    size: meta.size,
                });
            }
        }
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let outcome = match (&self.direct, self.place.provider) {
            (Some(direct), Provider::S3) => self.remove(direct, name).await,
            (Some(direct), _) => self.delete_directly(direct, name, "").await,
            (None, _) => {
                let path = self.path("delete", name.as_str())?;
                let delete = self.store.delete(&path);
                self.call("delete", name.as_str(), PATIENCE, delete).await
            }
        };
        match outcome {
            // Gone is gone; Azure and Google say so.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    async fn retain_until(&self, name: &ObjectName, until: SystemTime) -> Result<Retained, Error> {
        self.hold(name, until).await
    }

    async fn sweep(&self, _min_age: Duration) -> Result<u64, Error> {
        Ok(0)
    }
}

impl std::fmt::Debug for ObjectBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectBackend")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_by_whole_segments() {
        for (prefix, want) in [
            ("", Some("")),
            ("pa", Some("")),
            ("packs/", Some("packs")),
            ("packs/0a", Some("packs")),
            ("packs/0a/0a1", Some("packs/0a")),
            ("/", None),
            ("a//", None),
            ("../", None),
            ("A/", None),
        ] {
            assert_eq!(plan_list(prefix), want, "{prefix}");
        }
    }

    #[test]
    fn a_slow_line_has_time_for_a_pack() {
        assert_eq!(limit_for(0), PATIENCE);
        assert_eq!(limit_for(32 << 20), PATIENCE + Duration::from_secs(512));
    }
}
