//! The test of the test: each known way to get the sequence wrong is caught.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tresor_backend::Part;
use tresor_backend::local::{Content, Entry, Fs, FsError, Leftover, Published};
use tresor_backend::sim::{SimFs, SimTemp};

use crate::oracle::RACED_DIR;
use crate::power_cut::crash_everywhere;

/// A mistake in the sequence, made below the backend by leaving a step out or moving it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// The file is named before its bytes are safe, and they never are.
    NoFileSync,
    /// The same, but synced a moment later.
    FileSyncAfterPublish,
    /// A put returns before its name is durable.
    NoDirectorySync,
    /// A new directory is durable in nothing.
    ParentNotSynced,
    /// A directory that another process made is believed to be durable.
    ForeignDirectoryTrusted,
    /// The loser of a race relies on a name that the winner has not synced yet.
    TakenNotSynced,
    /// Publishing replaces.
    RenameOver,
}

/// A file system that makes one mistake.
struct Planted {
    inner: SimFs,
    bug: Bug,
    notes: Arc<Mutex<Notes>>,
}

#[derive(Default)]
struct Notes {
    /// Directories in which this process has named a file.
    published_in: BTreeSet<String>,
    /// The parent whose next sync is left out.
    skip: Option<String>,
}

impl Planted {
    fn new(inner: SimFs, bug: Bug) -> Self {
        Self {
            inner,
            bug,
            notes: Arc::default(),
        }
    }

    fn parent_of(path: &str) -> String {
        path.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned()
    }

    fn leaves_out(&self, dir: &str) -> bool {
        let mut notes = self.notes.lock().unwrap();
        match self.bug {
            Bug::NoDirectorySync => true,
            Bug::TakenNotSynced => dir == RACED_DIR && !notes.published_in.contains(dir),
            Bug::ParentNotSynced | Bug::ForeignDirectoryTrusted => {
                notes.skip.take().as_deref() == Some(dir)
            }
            Bug::NoFileSync | Bug::FileSyncAfterPublish | Bug::RenameOver => false,
        }
    }
}

impl Fs for Planted {
    type Temp = SimTemp;

    fn location(&self) -> String {
        self.inner.location()
    }

    async fn create_temp(&self) -> Result<SimTemp, FsError> {
        self.inner.create_temp().await
    }

    async fn write(&self, temp: &SimTemp, body: Bytes) -> Result<(), FsError> {
        self.inner.write(temp, body).await
    }

    async fn sync_file(&self, temp: &SimTemp) -> Result<(), FsError> {
        match self.bug {
            Bug::NoFileSync | Bug::FileSyncAfterPublish => Ok(()),
            _ => self.inner.sync_file(temp).await,
        }
    }

    async fn publish(&self, temp: &SimTemp, to: &str) -> Result<Published, FsError> {
        let published = match self.bug {
            Bug::RenameOver => {
                self.inner.rename_over(temp, to).await?;
                Published::New
            }
            _ => self.inner.publish(temp, to).await?,
        };
        if published == Published::New {
            let mut notes = self.notes.lock().unwrap();
            notes.published_in.insert(Self::parent_of(to));
        }
        if self.bug == Bug::FileSyncAfterPublish {
            self.inner.sync_file(temp).await?;
        }
        Ok(published)
    }

    async fn remove_temp(&self, temp: SimTemp) -> Result<(), FsError> {
        self.inner.remove_temp(temp).await
    }

    async fn make_dir(&self, dir: &str) -> Result<(), FsError> {
        let there = self.inner.stat(dir).await?.is_some();
        let skip = match self.bug {
            Bug::ParentNotSynced => true,
            Bug::ForeignDirectoryTrusted => there,
            _ => false,
        };
        self.inner.make_dir(dir).await?;
        if skip {
            self.notes.lock().unwrap().skip = Some(Self::parent_of(dir));
        }
        Ok(())
    }

    async fn sync_dir(&self, dir: &str) -> Result<(), FsError> {
        if self.leaves_out(dir) {
            return Ok(());
        }
        self.inner.sync_dir(dir).await
    }

    async fn read(&self, path: &str, part: Part) -> Result<Content, FsError> {
        self.inner.read(path, part).await
    }

    async fn stat(&self, path: &str) -> Result<Option<Entry>, FsError> {
        self.inner.stat(path).await
    }

    async fn list(&self, dir: &str) -> Result<Vec<Entry>, FsError> {
        self.inner.list(dir).await
    }

    async fn unlink(&self, path: &str) -> Result<bool, FsError> {
        self.inner.unlink(path).await
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>, FsError> {
        self.inner.leftovers().await
    }

    async fn remove_leftover(&self, name: &str) -> Result<bool, FsError> {
        self.inner.remove_leftover(name).await
    }
}

/// Seeds until the bug shows, each with all its crash points.
#[expect(
    clippy::print_stdout,
    reason = "a test's note: which broken promise gave the bug away"
)]
fn hunt(bug: Bug, seeds: u64) {
    for seed in 0..seeds {
        if let Err(broken) = crash_everywhere(seed, |fs| Planted::new(fs, bug)) {
            println!("{bug:?}: {broken}");
            return;
        }
    }
    panic!("{bug:?} was not caught in {seeds} seeds");
}

#[test]
fn naming_unsynced_bytes_is_caught() {
    hunt(Bug::NoFileSync, 20);
}

#[test]
fn syncing_bytes_after_naming_is_caught() {
    hunt(Bug::FileSyncAfterPublish, 20);
}

#[test]
fn an_unsynced_name_is_caught() {
    hunt(Bug::NoDirectorySync, 20);
}

#[test]
fn a_new_directory_without_a_synced_parent_is_caught() {
    hunt(Bug::ParentNotSynced, 20);
}

#[test]
fn trusting_a_directory_that_another_made_is_caught() {
    hunt(Bug::ForeignDirectoryTrusted, 60);
}

#[test]
fn relying_on_the_winners_sync_is_caught() {
    hunt(Bug::TakenNotSynced, 20);
}

#[test]
fn publishing_by_a_rename_that_replaces_is_caught() {
    hunt(Bug::RenameOver, 20);
}
