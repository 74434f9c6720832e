//! The trait.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

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

/// Keeps objects. All methods may be called at once from many tasks and many processes.
///
/// Dropping a future abandons the call: a `put` may or may not have happened.
#[async_trait]
pub trait Backend: Send + Sync {
    /// What the store is like.
    fn properties(&self) -> Properties;

    /// Stores an object. When it returns, the object is durable and visible to everybody.
    ///
    /// # Errors
    /// [`crate::ErrorKind::AlreadyExists`] when the name is taken: exactly one of several racing
    /// calls succeeds, and nothing is ever replaced. After any other error the object is either
    /// absent or whole; ask with `stat`.
    async fn put(&self, name: &ObjectName, body: Bytes) -> Result<(), Error>;

    /// Reads a whole object of at most `max_size` bytes (invariant I8).
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`]; [`crate::ErrorKind::BadRange`] when it is larger.
    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error>;

    /// Reads a part of an object, exactly as long as asked.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`]; [`crate::ErrorKind::BadRange`] when it ends before the
    /// range does.
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

    /// Removes an object. Removing what is not there succeeds.
    ///
    /// # Errors
    /// When the store fails or refuses.
    async fn delete(&self, name: &ObjectName) -> Result<(), Error>;

    /// Removes leftovers of writers that died, if they are older than `min_age`. Gives their
    /// number.
    ///
    /// # Errors
    /// When the store fails.
    async fn sweep(&self, min_age: std::time::Duration) -> Result<u64, Error>;
}
