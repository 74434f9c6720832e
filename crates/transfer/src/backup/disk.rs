//! One disk of a snapshot.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use tresor_disk::{ChangedExtent, DiskReader, Session, SnapshotDisk};
use tresor_model::{DiskStats, Extent, StreamRecord};
use tresor_vault::{CHUNK_SIZE, StreamStats, StreamWriter};

use super::{
    plan::{Step, leaves_gaps, plan_steps},
    reread::{Compared, Reread, compare},
};
use crate::{Error, ErrorKind, pace::Pacer};

/// Extents are asked for in windows of this many bytes: large enough that asking costs nothing,
/// small enough that a fragmented terabyte never lies in memory at once.
const WINDOW: u64 = 1 << 30;

/// Reads are this large at most: one frame of the vault.
pub(super) const READ_SIZE: u64 = 1 << 20;

/// What of a disk is read.
#[derive(Clone, Copy)]
pub enum Scope<'a> {
    /// What the tracking lists, and a share of what it does not list, to see whether it is right.
    Changed(Option<&'a Reread>),
    /// All data there is.
    Everything,
}

/// A disk on its way into the vault.
#[derive(Clone, Copy)]
pub struct Transfer<'a> {
    /// The snapshot.
    pub session: &'a dyn Session,
    /// Its disk.
    pub disk: &'a SnapshotDisk,
    /// What is read of it.
    pub scope: Scope<'a>,
    /// What the vault has lost of the point before: read whether it has changed or not.
    pub lost: &'a [Extent],
    /// Sets the pace of the reads.
    pub pacer: &'a Pacer,
    /// Counts the bytes passed over, for progress; the disk's size is 100 %.
    pub done: &'a AtomicU64,
    /// Ends the transfer.
    pub cancel: &'a CancellationToken,
}

/// How a transfer ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// The disk is in the vault.
    Moved(DiskTransfer),
    /// A block that the tracking calls clean is another than it was: the tracking cannot be
    /// believed, and the stream was given up.
    Contradicted {
        /// What was compared, and where it differs.
        compared: Compared,
        /// What was moved until then. What was stored is found there by the next stream.
        stats: DiskStats,
    },
}

/// What a finished transfer leaves.
#[derive(Debug, Clone)]
pub struct DiskTransfer {
    /// The stream in the vault.
    pub stream: StreamRecord,
    /// What was moved.
    pub stats: DiskStats,
    /// Bytes that were compared with the point before.
    pub compared: u64,
}

impl Transfer<'_> {
    /// Moves the disk into `writer`, which was opened over the disk's stream of the point before,
    /// if there is one.
    ///
    /// # Errors
    /// When a side fails or `cancel` is set; nothing is undone here, the vault's session is simply
    /// not committed. Another stream of the session may begin anew.
    pub async fn run(self, mut writer: StreamWriter) -> Result<Ending, Error> {
        let (changed, compared) = match self.move_windows(&mut writer).await {
            Ok((changed, compared)) if compared.first_difference.is_none() => {
                let finished = writer.finish().await;
                let (stream, stats) = finished.map_err(|error| vault_error(error, self.disk))?;
                return Ok(Ending::Moved(DiskTransfer {
                    stream,
                    stats: disk_stats(changed, stats, compared.bytes),
                    compared: compared.bytes,
                }));
            }
            Ok(contradicted) => contradicted,
            Err(error) => {
                // With a damaged point before it a disk can still be stored anew; the next stream
                // relies on what this one has placed.
                if error.is_damage() {
                    let _the_damage_is_the_cause = writer.abandon().await.is_ok();
                }
                return Err(error);
            }
        };
        let stats = writer.abandon().await;
        let stats = stats.map_err(|error| vault_error(error, self.disk))?;
        let stats = disk_stats(changed, stats, compared.bytes);
        Ok(Ending::Contradicted { compared, stats })
    }

    /// All windows, up to the first difference. Gives how many bytes were listed as changed, and
    /// what was compared.
    async fn move_windows(&self, writer: &mut StreamWriter) -> Result<(u64, Compared), Error> {
        let disk = self.disk;
        let opened = self.session.open(&disk.name).await;
        let reader = opened.map_err(|error| snapshot_error(error, disk))?;
        let (mut changed, mut compared) = (0, Compared::default());
        let mut start = 0;
        while start < disk.size && compared.first_difference.is_none() {
            let window = Extent::between(start, disk.size.min(start + WINDOW));
            let extents = self.extents(window).await?;
            let steps = plan_steps(&extents, window, CHUNK_SIZE as u64, READ_SIZE);
            changed += self.move_steps(&reader, writer, steps).await?;
            if let Scope::Changed(Some(reread)) = self.scope {
                let clean = reread.clean(window, &extents);
                compared = compared.plus(compare(self, &reader, reread, clean).await?);
            }
            start = window.end();
            self.done.fetch_max(start, Ordering::Relaxed);
        }
        Ok((changed, compared))
    }

    async fn extents(&self, window: Extent) -> Result<Vec<ChangedExtent>, Error> {
        let name = &self.disk.name;
        let listed = match self.scope {
            Scope::Changed(_) => self.session.extents(name, window).await,
            Scope::Everything => self.session.content(name, window).await,
        };
        let mut listed = listed.map_err(|error| snapshot_error(error, self.disk))?;
        if matches!(self.scope, Scope::Changed(_)) {
            listed.extend(again(self.lost, window));
        }
        // What is not listed keeps the content of the point before, which nobody vouches for here.
        if matches!(self.scope, Scope::Everything) && leaves_gaps(&listed, window) {
            let step = "list all of a disk";
            let error = tresor_disk::Error::new(tresor_disk::ErrorKind::Protocol, step);
            return Err(snapshot_error(error, self.disk));
        }
        Ok(listed)
    }

    /// Reads ahead, and hands the pieces to the vault in order. Gives the number of bytes that
    /// were listed as changed.
    async fn move_steps(
        &self,
        reader: &Arc<dyn DiskReader>,
        writer: &mut StreamWriter,
        steps: Vec<Step>,
    ) -> Result<u64, Error> {
        // Without tracking nothing is known to have changed: then the data itself is counted.
        let incremental = matches!(self.scope, Scope::Changed(_));
        let reads = steps.into_iter().map(|step| self.read(reader, step));
        let mut pieces = stream::iter(reads).buffered(reader.parallelism().max(1));
        let mut changed = 0;
        while let Some((extent, data)) = self.next(&mut pieces).await? {
            if data.is_some() || incremental {
                changed += extent.length;
            }
            let submitted = match data {
                Some(data) => writer.write(extent.start, data).await,
                None => writer.zero(extent).await,
            };
            submitted.map_err(|error| vault_error(error, self.disk))?;
            self.done.fetch_max(extent.end(), Ordering::Relaxed);
        }
        Ok(changed)
    }

    /// The bytes of a step, when its turn has come; `None` for zeros.
    pub(super) async fn read(
        &self,
        reader: &Arc<dyn DiskReader>,
        step: Step,
    ) -> Result<(Extent, Option<Bytes>), Error> {
        match step {
            Step::Zero(extent) => Ok((extent, None)),
            Step::Read(extent) => {
                self.pacer.turn(extent.length).await;
                let data = reader.read(extent).await;
                let data = data.map_err(|error| snapshot_error(error, self.disk))?;
                Ok((extent, Some(data)))
            }
        }
    }

    /// The next item, unless the transfer is to end.
    pub(super) async fn next<T>(
        &self,
        items: &mut (impl futures::Stream<Item = Result<T, Error>> + Unpin),
    ) -> Result<Option<T>, Error> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => {
                Err(Error::new(ErrorKind::Cancelled, &self.disk.name))
            }
            item = items.next() => item.transpose(),
        }
    }
}

/// What is to be read again of a window.
fn again(lost: &[Extent], window: Extent) -> impl Iterator<Item = ChangedExtent> {
    let lost = lost.iter().map(move |lost| lost.intersect(&window));
    lost.filter(|extent| !extent.is_empty())
        .map(|extent| ChangedExtent {
            extent,
            kind: tresor_disk::ExtentKind::Data,
        })
}

/// The vault's counts, what the tracking listed, and what was only compared.
fn disk_stats(changed: u64, moved: StreamStats, compared: u64) -> DiskStats {
    let StreamStats {
        read,
        zero,
        new,
        stored,
    } = moved;
    DiskStats {
        changed,
        read: read + compared,
        zero,
        new,
        stored,
    }
}

pub(super) fn snapshot_error(error: tresor_disk::Error, disk: &SnapshotDisk) -> Error {
    Error::new(ErrorKind::Snapshot(error), &disk.name)
}

pub(super) fn vault_error(error: tresor_vault::Error, disk: &SnapshotDisk) -> Error {
    Error::new(ErrorKind::Vault(error), &disk.name)
}
