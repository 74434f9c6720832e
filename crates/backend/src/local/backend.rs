//! The sequence of operations behind each call: the part whose order must be right.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::failure::failed;
use super::fs::{Content, Entry, FileKind, Fs, FsError, Published};
use super::paths::{ancestors, parent_of, plan_walk};
use crate::{Backend, DirFs, Error, ErrorKind, ObjectMeta, ObjectName, Part, Properties};

/// Most requests at once: enough to keep a disk's queue filled, few enough that a slow disk does
/// not take all of the runtime's blocking threads.
pub(super) const PARALLELISM: usize = 16;

/// Small files that are read one after the other on one blocking thread: as many as take longer than
/// going there and back, few enough that a disk still gets many requests at once.
const READ_TOGETHER: usize = 16;

/// Keeps objects as files below a directory. See the module's text for what holds.
#[derive(Debug)]
pub struct LocalBackend<F: Fs = DirFs> {
    fs: F,
    /// Directories whose name *this process* has made durable up to the root. That a directory
    /// exists is not enough: who made it may not have synced its parent yet, or may have died.
    rooted: Mutex<BTreeSet<String>>,
}

impl<F: Fs> LocalBackend<F> {
    /// A backend on a file system whose root is there.
    pub fn on(fs: F) -> Self {
        Self {
            fs,
            rooted: Mutex::new(BTreeSet::new()),
        }
    }

    fn is_rooted(&self, dir: &str) -> bool {
        let rooted = self.rooted.lock().unwrap_or_else(PoisonError::into_inner);
        dir.is_empty() || rooted.contains(dir)
    }

    fn set_rooted(&self, dir: &str) {
        let mut rooted = self.rooted.lock().unwrap_or_else(PoisonError::into_inner);
        rooted.insert(dir.to_owned());
    }

    fn forget_rooted(&self) {
        let mut rooted = self.rooted.lock().unwrap_or_else(PoisonError::into_inner);
        rooted.clear();
    }

    /// Makes `dir` and what is above it, each durable in its parent before the next is made.
    async fn root_dir(&self, dir: &str) -> Result<(), FsError> {
        for step in ancestors(dir) {
            if !self.is_rooted(step) {
                self.fs.make_dir(step).await?;
                self.fs.sync_dir(parent_of(step)).await?;
                self.set_rooted(step);
            }
        }
        Ok(())
    }

    /// Writes, syncs and names the file, in this order: a name never stands for bytes that a
    /// power cut could take.
    async fn fill_and_publish(
        &self,
        temp: &F::Temp,
        name: &ObjectName,
        body: Bytes,
    ) -> Result<Published, FsError> {
        self.fs.write(temp, body).await?;
        self.fs.sync_file(temp).await?;
        self.fs.publish(temp, name.as_str()).await
    }

    async fn write_object(&self, name: &ObjectName, body: Bytes) -> Result<Published, FsError> {
        let temp = self.fs.create_temp().await?;
        let published = self.fill_and_publish(&temp, name, body).await;
        // What cannot be removed now is a leftover for `sweep`; it says nothing of the object.
        let _ignored = self.fs.remove_temp(temp).await;
        published
    }

    /// The name is taken: vouches that what has it is an object and durable, then says so.
    async fn taken(&self, name: &ObjectName) -> Error {
        let put_error = |kind| Error::new(kind, "put", name.as_str());
        match self.fs.stat(name.as_str()).await {
            Ok(Some(entry)) if entry.kind == FileKind::File => {
                match self.fs.sync_dir(parent_of(name.as_str())).await {
                    Ok(()) => put_error(ErrorKind::AlreadyExists),
                    Err(cause) => failed("put", name.as_str(), cause),
                }
            }
            Ok(Some(_)) => {
                put_error(ErrorKind::Unfit).because("a thing that is no regular file has the name")
            }
            Ok(None) => put_error(ErrorKind::Unavailable).because("deleted at the same time"),
            Err(cause) => failed("put", name.as_str(), cause),
        }
    }

    async fn exists(&self, name: &ObjectName) -> Result<bool, FsError> {
        Ok(self.fs.stat(name.as_str()).await?.is_some())
    }

    async fn put_durably(&self, name: &ObjectName, body: Bytes) -> Result<Published, FsError> {
        let dir = parent_of(name.as_str());
        self.root_dir(dir).await?;
        // Spares a repeated put the writing; the race is decided by `publish`.
        if self.exists(name).await? {
            return Ok(Published::Taken);
        }
        let published = match self.write_object(name, body.clone()).await {
            // The directory was there and is gone: someone tidied up. Start afresh, once.
            Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => {
                self.forget_rooted();
                self.root_dir(dir).await?;
                self.write_object(name, body).await?
            }
            other => other?,
        };
        if published == Published::New {
            self.fs.sync_dir(dir).await?;
        }
        Ok(published)
    }

    async fn read(
        &self,
        operation: &'static str,
        name: &ObjectName,
        part: Part,
    ) -> Result<Bytes, Error> {
        let content = self.fs.read(name.as_str(), part).await;
        body_of(operation, name, content)
    }

    /// Walks the directories that can hold names beginning with `prefix`. Gives the objects,
    /// unsorted, and every directory that was walked, a parent before its children.
    async fn walk(&self, prefix: &str) -> Result<(Vec<ObjectMeta>, Vec<String>), FsError> {
        let mut objects = Vec::new();
        let mut walked = Vec::new();
        let mut waiting: VecDeque<String> = plan_walk(prefix).into_iter().collect();
        while let Some(dir) = waiting.pop_front() {
            for entry in self.fs.list(&dir).await? {
                let Some(name) = name_of(&dir, &entry) else {
                    continue;
                };
                let text = name.as_str();
                match entry.kind {
                    FileKind::File if text.starts_with(prefix) => objects.push(ObjectMeta {
                        name,
                        size: entry.size,
                    }),
                    // A directory deeper than the prefix; the way down to it is in the plan.
                    FileKind::Directory if text.starts_with(prefix) => {
                        waiting.push_back(text.to_owned());
                    }
                    FileKind::File | FileKind::Directory | FileKind::Foreign => {}
                }
            }
            walked.push(dir);
        }
        Ok((objects, walked))
    }

    async fn settle_dirs(&self, prefix: &str) -> Result<(), FsError> {
        let (_, walked) = self.walk(prefix).await?;
        let above = walked.first().map(|dir| ancestors(dir));
        for dir in above.into_iter().flatten() {
            self.sync_if_there(parent_of(dir)).await?;
        }
        for dir in &walked {
            self.sync_if_there(dir).await?;
        }
        Ok(())
    }

    async fn sync_if_there(&self, dir: &str) -> Result<(), FsError> {
        match self.fs.sync_dir(dir).await {
            Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    async fn remove(&self, name: &ObjectName) -> Result<(), FsError> {
        match self.fs.stat(name.as_str()).await? {
            Some(entry) if entry.kind != FileKind::File => return Ok(()),
            Some(_) => {
                self.fs.unlink(name.as_str()).await?;
            }
            None => {}
        }
        // Also when it was gone already: who removed it may not have synced.
        self.sync_if_there(parent_of(name.as_str())).await
    }
}

fn body_of(
    operation: &'static str,
    name: &ObjectName,
    content: Result<Content, FsError>,
) -> Result<Bytes, Error> {
    match content {
        Ok(Content::Bytes(bytes)) => Ok(bytes),
        Ok(Content::Outside(size)) => {
            Err(Error::new(ErrorKind::BadRange, operation, name.as_str())
                .because(format!("the object has {size} bytes")))
        }
        Ok(Content::Missing) => Err(Error::new(ErrorKind::NotFound, operation, name.as_str())),
        Err(cause) => Err(failed(operation, name.as_str(), cause)),
    }
}

/// The object or directory that an entry is, if its name obeys the rules: whatever else lies in
/// the directory is not ours and not seen.
fn name_of(dir: &str, entry: &Entry) -> Option<ObjectName> {
    let path = match dir {
        "" => entry.name.clone(),
        dir => format!("{dir}/{}", entry.name),
    };
    ObjectName::new(path).ok()
}

#[async_trait]
impl<F: Fs> Backend for LocalBackend<F> {
    fn properties(&self) -> Properties {
        Properties {
            location: self.fs.location(),
            parallelism: PARALLELISM,
        }
    }

    async fn put(&self, name: &ObjectName, body: Bytes) -> Result<(), Error> {
        match self.put_durably(name, body).await {
            Ok(Published::New) => Ok(()),
            Ok(Published::Taken) => Err(self.taken(name).await),
            Err(cause) => Err(failed("put", name.as_str(), cause)),
        }
    }

    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error> {
        self.read("get", name, Part::Whole(max_size)).await
    }

    async fn get_many(&self, names: &[ObjectName], max_size: u64) -> Vec<Result<Bytes, Error>> {
        let lots: Vec<_> = names.chunks(READ_TOGETHER).map(<[_]>::to_vec).collect();
        let read = |lot: Vec<ObjectName>| async move {
            let paths = lot.iter().map(|name| name.as_str().to_owned()).collect();
            let contents = self.fs.read_each(paths, max_size).await;
            let bodies = lot.iter().zip(contents);
            let body = |(name, content)| body_of("get", name, content);
            bodies.map(body).collect::<Vec<_>>()
        };
        let bodies = stream::iter(lots).map(read).buffered(PARALLELISM);
        let bodies: Vec<Vec<_>> = bodies.collect().await;
        bodies.into_iter().flatten().collect()
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes, Error> {
        self.read("get_range", name, Part::Range(range)).await
    }

    async fn stat(&self, name: &ObjectName) -> Result<ObjectMeta, Error> {
        match self.fs.stat(name.as_str()).await {
            Ok(Some(entry)) if entry.kind == FileKind::File => Ok(ObjectMeta {
                name: name.clone(),
                size: entry.size,
            }),
            Ok(_) => Err(Error::new(ErrorKind::NotFound, "stat", name.as_str())),
            Err(cause) => Err(failed("stat", name.as_str(), cause)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, Error> {
        let (mut objects, _) = self
            .walk(prefix)
            .await
            .map_err(|cause| failed("list", prefix, cause))?;
        objects.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(objects)
    }

    async fn settle(&self, prefix: &str) -> Result<(), Error> {
        self.settle_dirs(prefix)
            .await
            .map_err(|cause| failed("settle", prefix, cause))
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.remove(name)
            .await
            .map_err(|cause| failed("delete", name.as_str(), cause))
    }

    async fn sweep(&self, min_age: Duration) -> Result<u64, Error> {
        let sweep_error = |cause| failed("sweep", "", cause);
        let mut removed = 0;
        for leftover in self.fs.leftovers().await.map_err(sweep_error)? {
            if leftover.age >= min_age {
                let there = self.fs.remove_leftover(&leftover.name).await;
                removed += u64::from(there.map_err(sweep_error)?);
            }
        }
        Ok(removed)
    }
}
