//! Looking at blocks that the tracking calls clean: are they what the point before has?
//!
//! A write around the hypervisor leaves no sign in any bitmap (invariant I6). What is read here is
//! compared by the ids in the point's manifest; a difference is found by its chunk.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use tresor_disk::{ChangedExtent, DiskReader};
use tresor_model::{Extent, ExtentSet, RereadShare};
use tresor_vault::{CHUNK_SIZE, ExtentKind, StreamReader};

use super::{
    disk::{READ_SIZE, Transfer, snapshot_error, vault_error},
    plan::plan_steps,
};
use crate::Error;

const CHUNK: u64 = CHUNK_SIZE as u64;

/// A backup's share of a disk's clean blocks, and what they must be.
#[derive(Clone)]
pub struct Reread {
    share: RereadShare,
    before: StreamReader,
}

/// What was compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compared {
    /// Bytes that were read and compared.
    pub bytes: u64,
    /// Bytes of the chunks that were found to differ; the comparison ends with the first read that
    /// has some.
    pub differing: u64,
    /// Where the first of them begins.
    pub first_difference: Option<u64>,
}

impl Compared {
    pub(super) fn plus(self, more: Self) -> Self {
        Self {
            bytes: self.bytes + more.bytes,
            differing: self.differing + more.differing,
            first_difference: self.first_difference.or(more.first_difference),
        }
    }
}

impl Reread {
    /// Compares this share with the disk's stream of the point before.
    #[must_use]
    pub fn new(share: RereadShare, before: StreamReader) -> Self {
        Self { share, before }
    }

    /// The share's ranges of a window that the tracking calls clean.
    pub(super) fn clean(&self, window: Extent, changed: &[ChangedExtent]) -> Vec<Extent> {
        // The chunk with the end of a smaller stream is another in a disk that grew.
        let known = match self.before.size() {
            size if size < window.end() => size - size % CHUNK,
            _ => window.end(),
        };
        let known = window.intersect(&Extent::between(0, known));
        plan_clean(self.share, known, changed)
    }
}

/// What of the share within `window` no extent touches, in whole chunks. Pure. `window` begins at a
/// multiple of the chunk size.
fn plan_clean(share: RereadShare, window: Extent, changed: &[ChangedExtent]) -> Vec<Extent> {
    let changed = changed.iter().map(|changed| changed.extent);
    let changed = ExtentSet::from_unsorted(changed.collect()).align_out(CHUNK, window.end());
    let mut clean = Vec::new();
    let mut dirty = changed.iter().peekable();
    for stripe in share.stripes(window) {
        let mut at = stripe.start;
        while at < stripe.end() {
            while dirty.next_if(|dirty| dirty.end() <= at).is_some() {}
            let next = dirty.peek().map_or(stripe.end(), |dirty| dirty.start);
            let free = Extent::between(at, next.min(stripe.end()));
            if !free.is_empty() {
                clean.push(free);
            }
            at = match dirty.peek() {
                Some(dirty) if dirty.start < stripe.end() => dirty.end(),
                _ => stripe.end(),
            };
        }
    }
    clean
}

/// Compares ranges with the point before, until the first difference.
pub(super) async fn compare(
    transfer: &Transfer<'_>,
    reader: &Arc<dyn DiskReader>,
    reread: &Reread,
    clean: Vec<Extent>,
) -> Result<Compared, Error> {
    let at_once = reader.parallelism().max(1);
    let checks = clean
        .into_iter()
        .map(|range| check(transfer, reader, reread, range));
    let mut checks = std::pin::pin!(stream::iter(checks).buffered(at_once));
    let mut sum = Compared::default();
    while let Some(compared) = transfer.next(&mut checks).await? {
        sum = sum.plus(compared);
        if sum.first_difference.is_some() {
            break;
        }
    }
    Ok(sum)
}

/// Compares one range; no longer than a stripe, so few reads.
async fn check(
    transfer: &Transfer<'_>,
    reader: &Arc<dyn DiskReader>,
    reread: &Reread,
    range: Extent,
) -> Result<Compared, Error> {
    let disk = transfer.disk;
    let content = transfer.session.content(&disk.name, range).await;
    let content = content.map_err(|error| snapshot_error(error, disk))?;
    let mut sum = Compared::default();
    for step in plan_steps(&content, range, CHUNK, READ_SIZE) {
        let (extent, data) = transfer.read(reader, step).await?;
        let differing = match data {
            Some(data) => {
                sum.bytes += extent.length;
                differing_data(reread, extent, data).await
            }
            None => differing_zeros(reread, extent).await,
        };
        let differing = differing.map_err(|error| vault_error(error, disk))?;
        let length: u64 = differing.iter().map(|extent| extent.length).sum();
        sum = sum.plus(Compared {
            bytes: 0,
            differing: length,
            first_difference: differing.first().map(|extent| extent.start),
        });
    }
    Ok(sum)
}

async fn differing_data(
    reread: &Reread,
    extent: Extent,
    data: Bytes,
) -> Result<Vec<Extent>, tresor_vault::Error> {
    let found = reread.before.differing_chunks(extent.start, data).await?;
    let chunks = found.into_iter().map(|start| Extent {
        start,
        length: CHUNK,
    });
    Ok(chunks.map(|chunk| chunk.intersect(&extent)).collect())
}

/// What is zero now must have been: nothing is read for it.
async fn differing_zeros(
    reread: &Reread,
    extent: Extent,
) -> Result<Vec<Extent>, tresor_vault::Error> {
    let before = reread.before.extents(extent).await?;
    let data = before
        .into_iter()
        .filter(|(_, kind)| *kind == ExtentKind::Data);
    Ok(data.map(|(extent, _)| extent).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tresor_disk::ExtentKind;
    use tresor_model::RereadFraction;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn share(fraction: &str) -> RereadShare {
        let fraction: RereadFraction = fraction.parse().expect("valid");
        fraction.decide_share(None).expect("a share")
    }

    fn changed(start: u64, end: u64) -> ChangedExtent {
        ChangedExtent {
            extent: Extent::between(start, end),
            kind: ExtentKind::Data,
        }
    }

    #[test]
    fn the_share_without_what_changed() {
        let dirty = [changed(100, 200), changed(2 * MIB - CHUNK, 2 * MIB + CHUNK)];
        let clean = plan_clean(share("1/2"), Extent::between(0, 3 * MIB), &dirty);
        let expected = [
            Extent::between(CHUNK, MIB),
            Extent::between(2 * MIB + CHUNK, 3 * MIB),
        ];
        assert_eq!(clean, expected);
        let all = [changed(0, 3 * MIB)];
        assert!(plan_clean(share("all"), Extent::between(0, 3 * MIB), &all).is_empty());
    }

    proptest! {
        /// With the whole as the share: what changed and what is clean are the disk, once.
        #[test]
        fn clean_and_changed_make_the_disk(
            mut cuts in proptest::collection::vec(0..900_u64, 0..40), size in 1..900_u64,
            ragged in 0..CHUNK,
        ) {
            cuts.sort_unstable();
            let size = size * CHUNK + ragged;
            let dirty: Vec<_> = cuts
                .chunks_exact(2)
                .map(|cut| changed(cut[0] * CHUNK, (cut[1] * CHUNK).min(size)))
                .filter(|changed| !changed.extent.is_empty())
                .collect();
            let window = Extent::between(0, size);
            let clean = plan_clean(share("all"), window, &dirty);
            let listed: u64 = ExtentSet::from_unsorted(
                dirty.iter().map(|changed| changed.extent).collect(),
            ).total();
            let free: u64 = clean.iter().map(|extent| extent.length).sum();
            prop_assert_eq!(listed + free, size);
            for extent in &clean {
                prop_assert!(extent.start.is_multiple_of(CHUNK));
                prop_assert!(dirty.iter().all(|d| d.extent.intersect(extent).is_empty()));
            }
        }
    }
}
