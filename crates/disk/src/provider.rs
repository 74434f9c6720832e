//! The traits, and what passes through them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tresor_model::{
    Extent, Fact, MachineDefinition, ReadMode, SnapshotTag, StreamName, TrackingLedger, VmId,
};

use crate::Error;

/// What a provider can do; asked, not found out by failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// All disks at one point in time.
    pub multi_disk: bool,
    /// Changed extents survive a clean stop of the VM.
    pub persistent_tracking: bool,
    /// Lost fleecing space loses the snapshot only.
    pub guest_safe_fleecing: bool,
}

/// Whether the VM runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VmState {
    /// Its CPUs run.
    Running,
    /// Stopped by an administrator or by itself, in the hypervisor's words (`paused`).
    Paused(String),
    /// There is no process that runs it; its disks are nobody's.
    Stopped,
    /// Anything in which no snapshot should be begun, in the hypervisor's words (`inmigrate`).
    Other(String),
}

/// A VM as it is now.
#[derive(Debug, Clone)]
pub struct VmDescription {
    /// Its identity.
    pub id: VmId,
    /// Whether it runs.
    pub state: VmState,
    /// The machine; its `disks` say which of them can be backed up.
    pub machine: MachineDefinition,
    /// What was observed on the way.
    pub facts: Vec<Fact>,
}

/// What is asked of a snapshot.
#[derive(Debug, Clone)]
pub struct PrepareRequest {
    /// The VM that is meant; another one is refused.
    pub vm: VmId,
    /// The mark on everything the snapshot leaves.
    pub tag: SnapshotTag,
    /// The disks, at least one.
    pub disks: Vec<DiskRequest>,
    /// Where copies of overwritten data are kept while the snapshot lives.
    pub fleecing_dir: PathBuf,
    /// Most bytes that fleecing may use for each disk; `None`: as much as the disk holds.
    pub fleecing_limit: Option<u64>,
    /// How long one copy may hold a guest write before the snapshot is given up.
    pub fleecing_timeout: Duration,
}

/// One disk of a [`PrepareRequest`].
#[derive(Debug, Clone)]
pub struct DiskRequest {
    /// Its name, from [`VmDescription`].
    pub name: StreamName,
    /// The last recovery point of this disk, if there is one to be incremental against.
    pub previous: Option<PreviousPoint>,
    /// Back it up also when others may write to it.
    pub shared: bool,
}

/// What the last recovery point knew of a disk.
#[derive(Debug, Clone)]
pub struct PreviousPoint {
    /// Its ledger.
    pub tracking: TrackingLedger,
}

/// Whether the changes since the previous point are known (invariant I6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BitmapJudgement {
    /// Every sign agrees: read what this bitmap lists.
    Trusted {
        /// The bitmap.
        bitmap: String,
    },
    /// Read everything, for this reason.
    ReadAll {
        /// In one sentence.
        reason: String,
    },
}

/// Who stops writes while [`Prepared::take`] swaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseMode {
    /// The guest is frozen: nothing to do.
    GuestFrozen,
    /// The provider stops the VM for the swap and continues it at once.
    StopVm,
}

/// How a snapshot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The recovery point is durable: the new bitmap replaces the old one.
    Committed,
    /// There is no recovery point: the new bitmap is merged back into the old one.
    Abandoned,
}

/// What [`SnapshotProvider::release`] found and removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseReport {
    /// Names of what was removed, in order.
    pub removed: Vec<String>,
}

impl ReleaseReport {
    /// Whether there was nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty()
    }
}

/// What there is of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Its tag.
    pub tag: SnapshotTag,
    /// Whether only bitmaps carry it: they may record for a recovery point, and disturb nobody.
    pub only_bitmaps: bool,
}

/// Counters of the guest's writes. They rise while the VM's process lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GuestWrites {
    /// How many were completed.
    pub count: u64,
    /// How long they took together.
    pub time: Duration,
}

/// Takes snapshots of one VM.
#[async_trait]
pub trait SnapshotProvider: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Looks at the VM. Changes nothing.
    ///
    /// # Errors
    /// When the hypervisor cannot be reached or understood.
    async fn describe(&self) -> Result<VmDescription, Error>;

    /// What the guest's writes took so far, over all disks: by two looks it is known what they
    /// took in between. `None` when it cannot be said just now. Changes nothing, and takes a
    /// second at most.
    async fn guest_writes(&self) -> Option<GuestWrites> {
        None
    }

    /// Does all the slow work before a snapshot: fleecing images, filters, judging bitmaps.
    ///
    /// # Errors
    /// After an error everything made so far is gone again, or carries the tag for `release`.
    async fn prepare(&self, request: PrepareRequest) -> Result<Box<dyn Prepared>, Error>;

    /// Ends what a snapshot with this tag left, however far it came. Safe to call twice.
    ///
    /// # Errors
    /// When something of ours is left; calling again is right.
    async fn release(&self, tag: &SnapshotTag, outcome: Outcome) -> Result<ReleaseReport, Error>;

    /// Everything of ours that is there, by tag, but for bitmaps that record for the points in
    /// `keep`. Snapshots that are alive are among it: the caller knows which jobs run.
    ///
    /// # Errors
    /// When the hypervisor cannot be asked.
    async fn find_orphans(&self, keep: &[TrackingLedger]) -> Result<Vec<Orphan>, Error>;
}

/// A snapshot that is ready to be taken.
#[async_trait]
pub trait Prepared: Send {
    /// How each requested disk will be read, and why.
    fn judgements(&self) -> Vec<(StreamName, BitmapJudgement)>;

    /// What else was seen of the disks.
    fn facts(&self) -> Vec<Fact> {
        Vec::new()
    }

    /// Takes the snapshot: the only call between freeze and thaw.
    ///
    /// # Errors
    /// After an error the VM runs on its disks as before; `release` removes the rest.
    async fn take(self: Box<Self>, pause: PauseMode) -> Result<Box<dyn Session>, Error>;

    /// Removes what `prepare` made.
    ///
    /// # Errors
    /// When something is left; `release` with the tag goes on.
    async fn abandon(self: Box<Self>) -> Result<(), Error>;
}

/// A disk in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotDisk {
    /// Its name.
    pub name: StreamName,
    /// Virtual size in bytes.
    pub size: u64,
    /// Which extents [`Session::extents`] gives.
    pub read_mode: ReadMode,
    /// The ledger for the recovery point.
    pub tracking: TrackingLedger,
}

/// What is known of an extent without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentKind {
    /// Must be read.
    Data,
    /// Reads as zeros: need not be read.
    Zero,
}

/// A range that may differ from the previous point (in a full: every range).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedExtent {
    /// Where.
    pub extent: Extent,
    /// What is known.
    pub kind: ExtentKind,
}

/// A snapshot that was taken: the frozen images of all its disks.
#[async_trait]
pub trait Session: Send + Sync {
    /// The disks.
    fn disks(&self) -> &[SnapshotDisk];

    /// How long the VM was held by the provider itself ([`PauseMode::StopVm`]).
    fn paused_for(&self) -> Option<Duration>;

    /// The changed extents within `window`, in rising order, cut to it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::SnapshotLost`] when the image broke.
    async fn extents(&self, disk: &StreamName, window: Extent)
    -> Result<Vec<ChangedExtent>, Error>;

    /// All of `window`, changed or not, in rising order and without gaps.
    ///
    /// # Errors
    /// [`crate::ErrorKind::SnapshotLost`] when the image broke.
    async fn content(&self, disk: &StreamName, window: Extent)
    -> Result<Vec<ChangedExtent>, Error>;

    /// A reader for the frozen image; several reads may be under way at once.
    ///
    /// # Errors
    /// [`crate::ErrorKind::SnapshotLost`] when the image broke.
    async fn open(&self, disk: &StreamName) -> Result<Arc<dyn DiskReader>, Error>;

    /// Ends the snapshot. Safe to call again after an error.
    ///
    /// # Errors
    /// When something of ours is left; `release` with the tag goes on.
    async fn end(&self, outcome: Outcome) -> Result<(), Error>;
}

/// Reads a frozen image.
#[async_trait]
pub trait DiskReader: Send + Sync {
    /// The bytes of a range within the disk.
    ///
    /// # Errors
    /// [`crate::ErrorKind::SnapshotLost`] when the image broke.
    async fn read(&self, extent: Extent) -> Result<Bytes, Error>;

    /// How many reads at once make sense.
    fn parallelism(&self) -> usize;
}
