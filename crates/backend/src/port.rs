//! The trait.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};

use crate::{Error, ObjectName};

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its name.
    pub name: ObjectName,
    /// Its size in bytes.
    pub size: u64,
}

/// What a store is like; asked, not found out by failing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// Where it is, for people (`/srv/vault`, `s3://bucket/prefix`).
    pub location: String,
    /// How many requests at once make sense.
    pub parallelism: usize,
}

/// What [`Backend::retain_until`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retained {
    /// The store refuses to delete the object until then.
    ByStore,
    /// This store has no such lock, or is not to use it: whoever has access to it can delete the
    /// object. Tresor itself keeps to what is marked in the vault.
    NotSupported,
}

/// Keeps objects. All methods may be called at once from many tasks and many processes.
///
/// # Durable or only visible
/// What a call of *yours* has returned for is durable. What `get`, `stat` and `list` show may
/// still be on its way to the disk, because the `put` of somebody else has not returned, or never
/// will (its process was killed between publishing and syncing). Before you make something
/// durable that depends on an object you only saw, call [`Backend::settle`] on it; or `put` it
/// again: [`crate::ErrorKind::AlreadyExists`] vouches for durability too.
///
/// # Names
/// Never use an object's name as a "directory" of another's (`a` and `a/b`), even after a
/// delete: object stores keep both, a directory cannot, and answers [`crate::ErrorKind::Unfit`].
///
/// # Cancellation
/// Dropping a future abandons the call: a `put` or `delete` may or may not have happened.
#[async_trait]
pub trait Backend: Send + Sync {
    /// What the store is like.
    fn properties(&self) -> Properties;

    /// Stores an object. When it returns, the object is durable and visible to everybody.
    ///
    /// # Errors
    /// [`crate::ErrorKind::AlreadyExists`] when the name is taken: exactly one of several racing
    /// calls succeeds, nothing is ever replaced, and the object that is there is durable.
    /// After any other error the object is either absent or whole, and perhaps not durable; put
    /// it again to know.
    async fn put(&self, name: &ObjectName, body: Bytes) -> Result<(), Error>;

    /// Reads a whole object of at most `max_size` bytes (invariant I8).
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`]; [`crate::ErrorKind::BadRange`] when it is larger.
    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error>;

    /// Reads whole objects as [`Backend::get`] does; the answers are in the order of the names. For
    /// many small objects, which some stores read for less together: a store that can overrides it,
    /// and a wrapper that does not is right all the same. All are held at once.
    async fn get_many(&self, names: &[ObjectName], max_size: u64) -> Vec<Result<Bytes, Error>> {
        let at_once = self.properties().parallelism.clamp(1, 64);
        // Collected: the compiler does not see that a lazy iterator of futures can be sent.
        let reads: Vec<_> = names.iter().map(|name| self.get(name, max_size)).collect();
        stream::iter(reads).buffered(at_once).collect().await
    }

    /// Reads a part of an object, exactly as long as asked. An empty range inside the object, or
    /// right at its end, gives no bytes.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`]; [`crate::ErrorKind::BadRange`] when the object ends before
    /// the range does, or the range before it starts.
    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes, Error>;

    /// Size of an object.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`].
    async fn stat(&self, name: &ObjectName) -> Result<ObjectMeta, Error>;

    /// All objects whose name begins with `prefix` (a text that ends at any byte), sorted by
    /// name. Sees every `put` that returned before the call.
    ///
    /// # Errors
    /// When the store fails.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, Error>;

    /// Makes durable every object that `list(prefix)` shows at this moment, whoever put it.
    /// Nothing to do where visible means durable (memory, object stores).
    ///
    /// # Errors
    /// When the store fails; then rely on nothing that you only saw.
    async fn settle(&self, prefix: &str) -> Result<(), Error> {
        let _ = prefix;
        Ok(())
    }

    /// Removes an object, durably: it does not come back after a power cut, and its space is free
    /// where these credentials may do that. Removing what is not there succeeds.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Retained`] when the store holds the object until a date: it is as it was,
    /// not hidden. When the store fails or refuses.
    async fn delete(&self, name: &ObjectName) -> Result<(), Error>;

    /// Asks the store itself to refuse every `delete` of an object until then (S3's Object Lock).
    /// May be extended, never shortened: an earlier time changes nothing. A store that can do this
    /// overrides the method, and answers [`Retained::ByStore`] only when it has read the date back:
    /// some servers accept the request and ignore it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`]; [`crate::ErrorKind::Unfit`] when the store accepted it and
    /// does not have it; when the store fails or refuses.
    async fn retain_until(&self, name: &ObjectName, until: SystemTime) -> Result<Retained, Error> {
        let _ = (name, until);
        Ok(Retained::NotSupported)
    }

    /// Removes leftovers of writers that died, if they are older than `min_age`. Gives their
    /// number.
    ///
    /// # Errors
    /// When the store fails.
    async fn sweep(&self, min_age: Duration) -> Result<u64, Error>;
}

/// A shared backend is a backend: so wrappers stack on what others hold, too.
#[async_trait]
impl<B: Backend + ?Sized> Backend for Arc<B> {
    fn properties(&self) -> Properties {
        (**self).properties()
    }

    async fn put(&self, name: &ObjectName, body: Bytes) -> Result<(), Error> {
        (**self).put(name, body).await
    }

    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error> {
        (**self).get(name, max_size).await
    }

    async fn get_many(&self, names: &[ObjectName], max_size: u64) -> Vec<Result<Bytes, Error>> {
        (**self).get_many(names, max_size).await
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes, Error> {
        (**self).get_range(name, range).await
    }

    async fn stat(&self, name: &ObjectName) -> Result<ObjectMeta, Error> {
        (**self).stat(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, Error> {
        (**self).list(prefix).await
    }

    async fn settle(&self, prefix: &str) -> Result<(), Error> {
        (**self).settle(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        (**self).delete(name).await
    }

    async fn retain_until(&self, name: &ObjectName, until: SystemTime) -> Result<Retained, Error> {
        (**self).retain_until(name, until).await
    }

    async fn sweep(&self, min_age: Duration) -> Result<u64, Error> {
        (**self).sweep(min_age).await
    }
}
