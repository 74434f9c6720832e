//! Checking a pack without a key.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tresor_vault_format::{
    HEADER_LEN, PackId, PackKind, PackTail, PublicFrame, TRAILER_LEN, TailLayout, name,
};

use crate::error::{Error, Result};
use crate::pool::CpuPool;
use crate::store::Store;

/// Bytes that are read at once.
const READ: u64 = 4 << 20;
/// Reads of a pack under way: one is hashed while the next one comes.
const READS_AHEAD: usize = 2;

/// Reads header and footers.
pub(crate) async fn tail(store: &Store, id: PackId, size: u64) -> Result<PackTail> {
    let object = name::pack(&id);
    if size < (HEADER_LEN + TRAILER_LEN) as u64 {
        return Err(Error::damaged(object, "it is too short"));
    }
    let wrong = |error| Error::format(&object, error);
    let header = store.get_range(&object, 0..HEADER_LEN as u64).await?;
    let trailer = store
        .get_range(&object, size - TRAILER_LEN as u64..size)
        .await?;
    let layout = TailLayout::decode(&trailer, size).map_err(wrong)?;
    let tail = store.get_range(&object, layout.tail()).await?;
    let tail = PackTail::decode(&header, &tail, &layout).map_err(wrong)?;
    if tail.header().id == id {
        Ok(tail)
    } else {
        Err(Error::damaged(object, "it is another pack"))
    }
}

/// Reads a whole pack and compares every frame with its public hash.
pub(crate) async fn check(
    store: &Store,
    pool: &CpuPool,
    id: PackId,
    size: u64,
) -> Result<PackKind> {
    let object = name::pack(&id);
    let tail = tail(store, id, size).await?;
    let frames: Arc<[PublicFrame]> = tail.frames().into();
    let mut reads = stream::iter(plan_reads(&frames))
        .map(async |(part, range)| {
            let bytes = store.get_range(&object, range).await?;
            let of = Arc::clone(&frames);
            let wrong = pool.run(move || first_wrong(&bytes, &of[part])).await;
            wrong.map_err(|error| Error::system("hash a pack").because(error))
        })
        .buffered(READS_AHEAD);
    while let Some(wrong) = reads.next().await {
        if let Some(offset) = wrong? {
            let reason = format!("the hash of the frame at byte {offset} does not match");
            return Err(Error::damaged(object.clone(), reason));
        }
    }
    Ok(tail.header().kind)
}

/// Which frames are read at once, and where they lie. Pure.
fn plan_reads(frames: &[PublicFrame]) -> Vec<(Range<usize>, Range<u64>)> {
    let end_of =
        |frame: &PublicFrame| u64::from(frame.location.offset) + u64::from(frame.location.length);
    let mut reads: Vec<(Range<usize>, Range<u64>)> = Vec::new();
    for (number, frame) in frames.iter().enumerate() {
        let end = end_of(frame);
        match reads.last_mut() {
            Some((part, range)) if end - range.start <= READ => {
                part.end = number + 1;
                range.end = end;
            }
            _ => reads.push((number..number + 1, u64::from(frame.location.offset)..end)),
        }
    }
    reads
}

/// Runs on the pool. `bytes` are the frames, one behind another.
fn first_wrong(bytes: &Bytes, frames: &[PublicFrame]) -> Option<u32> {
    let mut rest = &bytes[..];
    for frame in frames {
        let (stored, behind) = rest.split_at_checked(frame.location.length as usize)?;
        if *blake3::hash(stored).as_bytes() != frame.hash {
            return Some(frame.location.offset);
        }
        rest = behind;
    }
    None
}
