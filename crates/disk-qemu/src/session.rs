//! A snapshot that was taken: its extents and its data.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Mutex, OnceCell};
use tresor_disk::{ChangedExtent, DiskReader, Error, ErrorKind, Outcome, Session, SnapshotDisk};
use tresor_model::{Extent, SnapshotTag, StreamName};
use tresor_nbd::{
    ALLOCATION_ZERO, Address, BASE_ALLOCATION, BITMAP_DIRTY, BlockStatus, Client, ConnectOptions,
    dirty_bitmap_context,
};

use crate::{
    activate::{Exported, activate},
    connect::Lease,
    extents::{self, Run},
    naming,
    prepare::PlannedDisk,
    take::snapshot_disk,
};

/// Connections for each disk: two already hide the latency of one; four saturate QEMU's reader.
const CONNECTIONS: usize = 4;
/// Reads at once that keep those connections busy.
const PARALLELISM: usize = 8;
/// Most of a disk that is mapped in one go, so that memory does not grow with the disk.
const MAP_WINDOW: u64 = 8 << 30;

/// The process that holds a snapshot: QEMU, or a storage daemon.
#[async_trait]
pub(crate) trait Holder: Send + Sync {
    /// A connection to it.
    async fn lease(&self) -> Result<Lease, Error>;

    /// Ends the snapshot.
    async fn release(&self, tag: &SnapshotTag, outcome: Outcome) -> Result<(), Error>;

    /// The reason behind an error, where the holder knows better.
    fn explain(&self, error: Error) -> Error {
        error
    }
}

/// What a session is made from.
pub(crate) struct Taken {
    pub(crate) holder: Arc<dyn Holder>,
    pub(crate) lease: Lease,
    pub(crate) tag: SnapshotTag,
    /// The NBD server's.
    pub(crate) socket: PathBuf,
    pub(crate) disks: Vec<PlannedDisk>,
    pub(crate) paused_for: Option<Duration>,
}

/// A session on one process.
pub(crate) struct QemuSession {
    holder: Arc<dyn Holder>,
    tag: SnapshotTag,
    disks: Vec<SnapshotDisk>,
    exported: Vec<Exported>,
    paused_for: Option<Duration>,
    socket: PathBuf,
    /// The QMP connection of `take`, given back once the snapshot is readable.
    lease: Mutex<Option<Lease>>,
    activated: OnceCell<()>,
    readers: Vec<OnceCell<Arc<Client>>>,
}

impl QemuSession {
    pub(crate) fn new(taken: Taken) -> Self {
        let Taken { tag, disks, .. } = taken;
        let exported = disks.iter().map(|disk| Exported {
            format_node: disk.format_node.clone(),
            bitmap: disk.trusted().map(str::to_owned),
            filtered: disk.filtered,
            tracked: disk.tracked,
        });
        Self {
            exported: exported.collect(),
            readers: disks.iter().map(|_| OnceCell::new()).collect(),
            disks: disks.iter().map(|disk| snapshot_disk(&tag, disk)).collect(),
            holder: taken.holder,
            tag,
            socket: taken.socket,
            paused_for: taken.paused_for,
            lease: Mutex::new(Some(taken.lease)),
            activated: OnceCell::new(),
        }
    }

    async fn activate(&self) -> Result<(), Error> {
        let once = async {
            let mut lease = self.lease.lock().await;
            let client = match lease.as_ref() {
                Some(client) if !client.is_closed() => Lease::clone(client),
                _ => self.holder.lease().await?,
            };
            activate(&client, &self.tag, &self.exported).await?;
            *lease = None;
            Ok(())
        };
        let once = self.activated.get_or_try_init(|| once).await;
        once.map_err(|error| self.holder.explain(error))?;
        Ok(())
    }

    async fn client(&self, disk: &StreamName) -> Result<(usize, Arc<Client>), Error> {
        self.activate().await?;
        let index = self.disks.iter().position(|known| known.name == *disk);
        let slot = index.and_then(|index| Some((index, self.readers.get(index)?)));
        let (index, slot) = slot.ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "find the disk in the snapshot")
                .on_disk(disk.as_str())
        })?;
        let client = slot.get_or_try_init(|| self.open_export(index)).await;
        let client = client
            .map_err(|error| lost(&*self.holder, "open the snapshot's export", disk, error))?;
        Ok((index, Arc::clone(client)))
    }

    async fn open_export(&self, index: usize) -> Result<Arc<Client>, tresor_nbd::Error> {
        let mut contexts = vec![BASE_ALLOCATION.to_owned()];
        contexts.extend(self.bitmap_context(index));
        let options = ConnectOptions {
            connections: CONNECTIONS,
            contexts,
            ..ConnectOptions::default()
        };
        let address = Address::Unix(self.socket.clone());
        let export = naming::export(&self.tag, index);
        Ok(Arc::new(
            Client::connect(&address, &export, &options).await?,
        ))
    }

    /// The extents of a window: those that changed, or all.
    async fn list(
        &self,
        disk: &StreamName,
        window: Extent,
        changed: bool,
    ) -> Result<Vec<ChangedExtent>, Error> {
        let (index, client) = self.client(disk).await?;
        let size = self.disks.get(index).map_or(0, |disk| disk.size);
        let window = window.intersect(&Extent::between(0, size));
        let context = self.bitmap_context(index).filter(|_| changed);
        // Behind this the bitmap says nothing: a disk that grew is clean there.
        let tracked = self.exported.get(index).map_or(size, |disk| disk.tracked);
        let mut listed = Vec::new();
        let mut at = window.start;
        while at < window.end() {
            let context = context.as_deref().filter(|_| at < tracked);
            let limit = context.map_or(size, |_| tracked);
            let end = at.saturating_add(MAP_WINDOW).min(window.end()).min(limit);
            let part = Extent::between(at, end);
            let status = client.map(part.start, part.length).await;
            let status =
                status.map_err(|error| lost(&*self.holder, "ask what changed", disk, error))?;
            let data = runs(&status, BASE_ALLOCATION, |flags| {
                flags & ALLOCATION_ZERO == 0
            });
            let dirty = context.map(|name| runs(&status, name, |flags| flags & BITMAP_DIRTY != 0));
            listed.extend(extents::changed(part, size, &data, dirty.as_deref()));
            at = part.end();
        }
        Ok(listed)
    }

    fn bitmap_context(&self, index: usize) -> Option<String> {
        let bitmap = self.exported.get(index)?.bitmap.as_deref()?;
        Some(dirty_bitmap_context(bitmap))
    }
}

#[async_trait]
impl Session for QemuSession {
    fn disks(&self) -> &[SnapshotDisk] {
        &self.disks
    }

    fn paused_for(&self) -> Option<Duration> {
        self.paused_for
    }

    async fn extents(
        &self,
        disk: &StreamName,
        window: Extent,
    ) -> Result<Vec<ChangedExtent>, Error> {
        self.list(disk, window, true).await
    }

    async fn content(
        &self,
        disk: &StreamName,
        window: Extent,
    ) -> Result<Vec<ChangedExtent>, Error> {
        self.list(disk, window, false).await
    }

    async fn open(&self, disk: &StreamName) -> Result<Arc<dyn DiskReader>, Error> {
        let (_, client) = self.client(disk).await?;
        Ok(Arc::new(ExportReader {
            client,
            disk: disk.clone(),
            holder: Arc::clone(&self.holder),
        }))
    }

    async fn end(&self, outcome: Outcome) -> Result<(), Error> {
        for client in self.readers.iter().filter_map(OnceCell::get) {
            // A connection that has failed before is as good as one that is closed now.
            let _ended_before = client.disconnect().await;
        }
        // Kept until here when the session was never used: the release needs the socket.
        let lease = self.lease.lock().await.take();
        self.holder.release(&self.tag, outcome).await?;
        drop(lease);
        Ok(())
    }
}

fn runs(status: &BlockStatus, context: &str, on: impl Fn(u64) -> bool) -> Vec<Run> {
    let described = status.get(context).map(Vec::as_slice).unwrap_or_default();
    let run = described
        .iter()
        .map(|extent| (extent.length, on(extent.flags)));
    run.collect()
}

/// Whatever keeps the export from answering, its content cannot be had any more: the filter gave
/// the snapshot up, or the process is gone, and the snapshot with it.
fn lost(holder: &dyn Holder, step: &str, disk: &StreamName, error: tresor_nbd::Error) -> Error {
    let kind = match error.kind() {
        tresor_nbd::ErrorKind::Invalid => ErrorKind::Protocol,
        _ => ErrorKind::SnapshotLost,
    };
    let error = Error::new(kind, step).on_disk(disk.as_str()).because(error);
    holder.explain(error)
}

/// Reads one export.
struct ExportReader {
    client: Arc<Client>,
    disk: StreamName,
    holder: Arc<dyn Holder>,
}

#[async_trait]
impl DiskReader for ExportReader {
    async fn read(&self, extent: Extent) -> Result<Bytes, Error> {
        let read = self.client.read(extent.start, extent.length).await;
        read.map_err(|error| lost(&*self.holder, "read the snapshot", &self.disk, error))
    }

    fn parallelism(&self) -> usize {
        PARALLELISM
    }
}
