//! One disk of a snapshot.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use tresor_disk::{DiskReader, Session, SnapshotDisk};
use tresor_model::{DiskStats, Extent, ReadMode, StreamRecord};
use tresor_vault::{CHUNK_SIZE, StreamStats, StreamWriter};

use super::plan::{Step, plan_steps};
use crate::{Error, ErrorKind};

/// Extents are asked for in windows of this many bytes: large enough that asking costs nothing,
/// small enough that a fragmented terabyte never lies in memory at once.
const WINDOW: u64 = 1 << 30;

/// Reads are this large at most: one frame of the vault.
const READ_SIZE: u64 = 1 << 20;

/// What a finished transfer leaves.
#[derive(Debug, Clone)]
pub struct DiskTransfer {
    /// The stream in the vault.
    pub stream: StreamRecord,
    /// What was moved.
    pub stats: DiskStats,
}

/// Moves the changed extents of one disk into the vault. `done` counts the bytes passed over,
/// for progress; the disk's size is 100 %.
///
/// # Errors
/// When a side fails or `cancel` is set; nothing is undone here, the vault's session is simply
/// not committed.
pub async fn transfer_disk(
    session: &dyn Session,
    disk: &SnapshotDisk,
    mut writer: StreamWriter,
    done: &AtomicU64,
    cancel: &CancellationToken,
) -> Result<DiskTransfer, Error> {
    let snapshot_error = |error| Error::new(ErrorKind::Snapshot(error), &disk.name);
    let reader = session.open(&disk.name).await.map_err(snapshot_error)?;
    let mut changed = 0;
    let mut start = 0;
    while start < disk.size {
        let window = Extent::between(start, disk.size.min(start + WINDOW));
        let extents = session
            .extents(&disk.name, window)
            .await
            .map_err(snapshot_error)?;
        let steps = plan_steps(&extents, window, CHUNK_SIZE as u64, READ_SIZE);
        changed += move_steps(&reader, disk, &mut writer, steps, done, cancel).await?;
        start = window.end();
        done.fetch_max(start, Ordering::Relaxed);
    }
    let (stream, stats) = writer
        .finish()
        .await
        .map_err(|error| vault_error(error, disk))?;
    Ok(DiskTransfer {
        stream,
        stats: disk_stats(changed, stats),
    })
}

/// The vault's counts, and what the tracking listed.
pub(super) fn disk_stats(changed: u64, moved: StreamStats) -> DiskStats {
    let StreamStats {
        read,
        zero,
        new,
        stored,
    } = moved;
    DiskStats {
        changed,
        read,
        zero,
        new,
        stored,
    }
}

/// Reads ahead with the reader's parallelism, and hands the pieces to the vault in order. Gives
/// the number of bytes that were listed as changed.
async fn move_steps(
    reader: &Arc<dyn DiskReader>,
    disk: &SnapshotDisk,
    writer: &mut StreamWriter,
    steps: Vec<Step>,
    done: &AtomicU64,
    cancel: &CancellationToken,
) -> Result<u64, Error> {
    let reads = steps.into_iter().map(|step| {
        let reader = Arc::clone(reader);
        async move {
            match step {
                Step::Zero(extent) => Ok((extent, None)),
                Step::Read(extent) => reader.read(extent).await.map(|data| (extent, Some(data))),
            }
        }
    });
    let mut pieces = stream::iter(reads).buffered(reader.parallelism().max(1));
    // Without tracking nothing is known to have changed: then the data itself is counted.
    let incremental = matches!(disk.read_mode, ReadMode::Incremental { .. });
    let mut changed = 0;
    loop {
        let piece = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::new(ErrorKind::Cancelled, &disk.name)),
            piece = pieces.next() => piece,
        };
        let Some(piece) = piece else {
            return Ok(changed);
        };
        let (extent, data) =
            piece.map_err(|error| Error::new(ErrorKind::Snapshot(error), &disk.name))?;
        if data.is_some() || incremental {
            changed += extent.length;
        }
        submit(writer, extent, data)
            .await
            .map_err(|error| vault_error(error, disk))?;
        done.fetch_max(extent.end(), Ordering::Relaxed);
    }
}

async fn submit(
    writer: &mut StreamWriter,
    extent: Extent,
    data: Option<Bytes>,
) -> Result<(), tresor_vault::Error> {
    match data {
        Some(data) => writer.write(extent.start, data).await,
        None => writer.zero(extent).await,
    }
}

fn vault_error(error: tresor_vault::Error, disk: &SnapshotDisk) -> Error {
    Error::new(ErrorKind::Vault(error), &disk.name)
}
