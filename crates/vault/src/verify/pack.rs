//! Checking a pack without a key.

use std::sync::Arc;

use bytes::Bytes;
use tresor_vault_format::{
    HEADER_LEN, PackId, PackKind, PackTail, PublicFrame, TRAILER_LEN, TailLayout, name,
};

use crate::error::{Error, Result};
use crate::pool::CpuPool;
use crate::store::Store;

/// Bytes that are read at once.
const READ: u64 = 4 << 20;

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
    let mut next = 0;
    while let Some(first) = frames.get(next) {
        let start = u64::from(first.location.offset);
        let end_of = |frame: &PublicFrame| {
            u64::from(frame.location.offset) + u64::from(frame.location.length)
        };
        let mut behind = next + 1;
        while frames
            .get(behind)
            .is_some_and(|frame| end_of(frame) - start <= READ)
        {
            behind += 1;
        }
        let end = frames.get(behind - 1).map_or(start, end_of);
        let bytes = store.get_range(&object, start..end).await?;
        let (of, part) = (Arc::clone(&frames), next..behind);
        let wrong = pool.run(move || first_wrong(&bytes, &of[part])).await;
        let wrong = wrong.map_err(|error| Error::system("hash a pack").because(error))?;
        if let Some(offset) = wrong {
            let reason = format!("the hash of the frame at byte {offset} does not match");
            return Err(Error::damaged(object, reason));
        }
        next = behind;
    }
    Ok(tail.header().kind)
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
