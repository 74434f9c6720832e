//! The provider that looks: a VM that runs is asked over QMP, one that does not through its images.
//!
//! # What must hold
//! - Each call looks anew, so a VM may be started or stopped between any two of them; but for
//!   `prepare`, which goes the way of the last `describe`: what was decided by a description holds
//!   only for a VM in that state. It fails with [`ErrorKind::GaveWay`] when the VM was started.
//! - A VM that is being started is waited for, for [`START_PATIENCE`]: it holds its images, and its
//!   monitor does not answer yet.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;
use tresor_disk::{
    Capabilities, ChangedExtent, DiskReader, Error, ErrorKind, GuestWrites, Orphan, Outcome,
    PauseMode, PrepareRequest, Prepared, ReleaseReport, Session, SnapshotDisk, SnapshotProvider,
    VmDescription,
};
use tresor_model::{Extent, Fact, SnapshotTag, StreamName, TrackingLedger};

use crate::{QemuConfig, QemuProvider, StoppedProvider};

/// How long a VM may take from opening its images to answering QMP.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(200);

/// The snapshot provider of a VM, whether it runs or not.
#[derive(Debug, Clone)]
pub struct VmProvider {
    running: QemuProvider,
    stopped: StoppedProvider,
    /// Whether the VM was stopped when it was last described.
    was_stopped: Arc<AtomicBool>,
    /// Whether this provider has let the images go for a start of the VM.
    gave_way: Arc<AtomicBool>,
}

impl VmProvider {
    /// A provider that finds out at each use whether the VM runs.
    #[must_use]
    pub fn new(config: QemuConfig) -> Self {
        Self {
            running: QemuProvider::unconnected(config.clone()),
            stopped: StoppedProvider::new(config),
            was_stopped: Arc::default(),
            gave_way: Arc::default(),
        }
    }

    /// Waits until the VM's QEMU answers, for as long as a start may take.
    ///
    /// # Errors
    /// That it does not, as of the last try.
    pub async fn wait_until_running(&self) -> Result<(), Error> {
        let patience = Instant::now() + START_PATIENCE;
        loop {
            match self.running.look().await {
                Err(_) if Instant::now() < patience => tokio::time::sleep(POLL).await,
                result => return result,
            }
        }
    }

    /// Whether the error says that no QEMU is there, and what the VM was is known.
    fn is_stopped(&self, error: &Error) -> bool {
        nobody_listens(error) && self.stopped.knows()
    }

    fn note(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::GaveWay {
            self.gave_way.store(true, Ordering::Release);
        }
        error
    }

    /// Ends a snapshot while the VM may be between its states.
    async fn release_either(
        &self,
        tag: &SnapshotTag,
        outcome: Outcome,
    ) -> Result<ReleaseReport, Error> {
        let patience = Instant::now() + START_PATIENCE;
        loop {
            let error = match self.running.release(tag, outcome).await {
                Err(error) if self.is_stopped(&error) => {
                    match self.stopped.release(tag, outcome).await {
                        Err(error) => self.note(error),
                        report => return report,
                    }
                }
                Err(error) => error,
                report => return report,
            };
            let starting = match error.kind() {
                ErrorKind::GaveWay | ErrorKind::ImageInUse => true,
                ErrorKind::Unreachable => self.gave_way.load(Ordering::Acquire),
                _ => false,
            };
            if !starting || Instant::now() >= patience {
                return Err(error);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Whether nobody listens at the QMP socket: it refuses, or it is not there.
fn nobody_listens(error: &Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            let kind = error.kind();
            return matches!(
                kind,
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
            );
        }
        source = error.source();
    }
    false
}

#[async_trait]
impl SnapshotProvider for VmProvider {
    fn capabilities(&self) -> Capabilities {
        self.running.capabilities()
    }

    async fn describe(&self) -> Result<VmDescription, Error> {
        let described = match self.running.describe().await {
            Err(error) if self.is_stopped(&error) => (true, self.stopped.describe().await),
            described => (false, described),
        };
        self.was_stopped.store(described.0, Ordering::Release);
        described.1
    }

    /// Of a VM that runs; one that does not writes nothing.
    async fn guest_writes(&self) -> Option<GuestWrites> {
        self.running.guest_writes().await
    }

    async fn prepare(&self, request: PrepareRequest) -> Result<Box<dyn Prepared>, Error> {
        if !self.was_stopped.load(Ordering::Acquire) {
            return self.running.prepare(request).await;
        }
        let tag = request.tag.clone();
        let prepared = match self.stopped.prepare(request).await {
            Err(error) if error.kind() == ErrorKind::ImageInUse => {
                // By the VM itself, when it was started since it was described.
                let step = "hold the images of a VM that was started meanwhile";
                Err(match self.running.look().await {
                    Ok(()) => Error::new(ErrorKind::GaveWay, step).because(error),
                    Err(_) => error,
                })
            }
            prepared => prepared,
        };
        let inner = prepared.map_err(|error| self.note(error))?;
        let provider = self.clone();
        Ok(Box::new(Yielding {
            provider,
            tag,
            inner,
        }))
    }

    async fn release(&self, tag: &SnapshotTag, outcome: Outcome) -> Result<ReleaseReport, Error> {
        self.release_either(tag, outcome).await
    }

    async fn find_orphans(&self, keep: &[TrackingLedger]) -> Result<Vec<Orphan>, Error> {
        match self.running.find_orphans(keep).await {
            Err(error) if self.is_stopped(&error) => self.stopped.find_orphans(keep).await,
            tags => tags,
        }
    }
}

/// A snapshot of a stopped VM, which may be started at any moment: then it is ended through the
/// VM that runs.
struct Yielding<T> {
    provider: VmProvider,
    tag: SnapshotTag,
    inner: T,
}

impl<T> Yielding<T> {
    async fn settle(&self, ended: Result<(), Error>, outcome: Outcome) -> Result<(), Error> {
        let Err(error) = ended else { return Ok(()) };
        let error = self.provider.note(error);
        if error.kind() != ErrorKind::GaveWay {
            return Err(error);
        }
        let released = self.provider.release_either(&self.tag, outcome).await;
        released.map(|_| ())
    }
}

#[async_trait]
impl Prepared for Yielding<Box<dyn Prepared>> {
    fn judgements(&self) -> Vec<(StreamName, tresor_disk::BitmapJudgement)> {
        self.inner.judgements()
    }

    fn facts(&self) -> Vec<Fact> {
        self.inner.facts()
    }

    async fn take(self: Box<Self>, pause: PauseMode) -> Result<Box<dyn Session>, Error> {
        let Self {
            provider,
            tag,
            inner,
        } = *self;
        let taken = inner.take(pause).await;
        let inner = taken.map_err(|error| provider.note(error))?;
        Ok(Box::new(Yielding {
            provider,
            tag,
            inner,
        }))
    }

    async fn abandon(self: Box<Self>) -> Result<(), Error> {
        let Self {
            provider,
            tag,
            inner,
        } = *self;
        let rest = Yielding {
            provider,
            tag,
            inner: (),
        };
        rest.settle(inner.abandon().await, Outcome::Abandoned).await
    }
}

#[async_trait]
impl Session for Yielding<Box<dyn Session>> {
    fn disks(&self) -> &[SnapshotDisk] {
        self.inner.disks()
    }

    fn paused_for(&self) -> Option<Duration> {
        self.inner.paused_for()
    }

    async fn extents(
        &self,
        disk: &StreamName,
        window: Extent,
    ) -> Result<Vec<ChangedExtent>, Error> {
        let extents = self.inner.extents(disk, window).await;
        extents.map_err(|error| self.provider.note(error))
    }

    async fn content(
        &self,
        disk: &StreamName,
        window: Extent,
    ) -> Result<Vec<ChangedExtent>, Error> {
        let content = self.inner.content(disk, window).await;
        content.map_err(|error| self.provider.note(error))
    }

    async fn open(&self, disk: &StreamName) -> Result<Arc<dyn DiskReader>, Error> {
        let inner = self.inner.open(disk).await;
        let inner = inner.map_err(|error| self.provider.note(error))?;
        let provider = self.provider.clone();
        Ok(Arc::new(YieldingReader { provider, inner }))
    }

    async fn end(&self, outcome: Outcome) -> Result<(), Error> {
        self.settle(self.inner.end(outcome).await, outcome).await
    }
}

/// A reader that notes when its disk was let go.
struct YieldingReader {
    provider: VmProvider,
    inner: Arc<dyn DiskReader>,
}

#[async_trait]
impl DiskReader for YieldingReader {
    async fn read(&self, extent: Extent) -> Result<Bytes, Error> {
        let read = self.inner.read(extent).await;
        read.map_err(|error| self.provider.note(error))
    }

    fn parallelism(&self) -> usize {
        self.inner.parallelism()
    }
}
