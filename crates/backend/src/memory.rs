//! Objects in memory: the reference for what every other backend must do.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Backend, Error, ErrorKind, ObjectMeta, ObjectName, Part, Properties, Retained};

/// Keeps objects in memory, for tests and trials. Nothing survives the process.
///
/// Cloned bytes are shared, not copied: a `get` costs nothing, whatever the object's size.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    objects: Mutex<BTreeMap<ObjectName, Bytes>>,
    /// Until when which object is held; `None`: this store holds nothing.
    held: Option<Mutex<BTreeMap<ObjectName, SystemTime>>>,
}

impl MemoryBackend {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store that holds objects until a date, as S3 with Object Lock does.
    #[must_use]
    pub fn with_retention() -> Self {
        Self {
            held: Some(Mutex::default()),
            ..Self::default()
        }
    }

    /// Until when an object is held.
    #[must_use]
    pub fn held_until(&self, name: &ObjectName) -> Option<SystemTime> {
        self.held()?.get(name).copied()
    }

    fn held(&self) -> Option<MutexGuard<'_, BTreeMap<ObjectName, SystemTime>>> {
        let held = self.held.as_ref()?;
        Some(held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces or creates an object without asking: how a test plants damage. Not part of the
    /// port, which never replaces.
    pub fn overwrite(&self, name: &ObjectName, body: Bytes) {
        self.objects().insert(name.clone(), body);
    }

    /// The map is whole at every unlock (one insert or remove), so a panic elsewhere while the
    /// lock was held does not spoil it.
    fn objects(&self) -> MutexGuard<'_, BTreeMap<ObjectName, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, operation: &'static str, name: &ObjectName) -> Result<Bytes, Error> {
        self.objects()
            .get(name)
            .cloned()
            .ok_or_else(|| Error::new(ErrorKind::NotFound, operation, name.as_str()))
    }

    fn read(
        &self,
        operation: &'static str,
        name: &ObjectName,
        part: &Part,
    ) -> Result<Bytes, Error> {
        let body = self.find(operation, name)?;
        let bad_range = || Error::new(ErrorKind::BadRange, operation, name.as_str());
        let (start, len) = part.place_in(size_of(&body)).ok_or_else(bad_range)?;
        let start = usize::try_from(start).map_err(|_| bad_range())?;
        Ok(body.slice(start..start + len))
    }
}

/// Widens a length; lossless on every machine Rust runs on.
fn size_of(body: &Bytes) -> u64 {
    body.len() as u64
}

#[async_trait]
impl Backend for MemoryBackend {
    fn properties(&self) -> Properties {
        Properties {
            location: "memory".to_owned(),
            parallelism: 16,
        }
    }

    async fn put(&self, name: &ObjectName, body: Bytes) -> Result<(), Error> {
        use std::collections::btree_map::Entry;
        match self.objects().entry(name.clone()) {
            Entry::Occupied(_) => Err(Error::new(ErrorKind::AlreadyExists, "put", name.as_str())),
            Entry::Vacant(place) => {
                place.insert(body);
                Ok(())
            }
        }
    }

    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error> {
        self.read("get", name, &Part::Whole(max_size))
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes, Error> {
        self.read("get_range", name, &Part::Range(range))
    }

    async fn stat(&self, name: &ObjectName) -> Result<ObjectMeta, Error> {
        let body = self.find("stat", name)?;
        Ok(ObjectMeta {
            name: name.clone(),
            size: size_of(&body),
        })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, Error> {
        let objects = self.objects();
        let found = objects
            .iter()
            .filter(|(name, _)| name.as_str().starts_with(prefix));
        Ok(found
            .map(|(name, body)| ObjectMeta {
                name: name.clone(),
                size: size_of(body),
            })
            .collect())
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        if self
            .held_until(name)
            .is_some_and(|until| until > SystemTime::now())
        {
            return Err(Error::new(ErrorKind::Retained, "delete", name.as_str()));
        }
        self.objects().remove(name);
        Ok(())
    }

    async fn retain_until(&self, name: &ObjectName, until: SystemTime) -> Result<Retained, Error> {
        self.find("retain_until", name)?;
        let Some(mut held) = self.held() else {
            return Ok(Retained::NotSupported);
        };
        let there = held.entry(name.clone()).or_insert(until);
        *there = until.max(*there);
        Ok(Retained::ByStore)
    }

    async fn sweep(&self, _min_age: Duration) -> Result<u64, Error> {
        Ok(0)
    }
}
