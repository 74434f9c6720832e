//! Which ranges of which packs to read for a set of chunks.

use std::collections::BTreeMap;
use std::ops::Range;

use tresor_vault_format::{FrameLocation, LeafChunk, PackId};

/// Most stored bytes of one read: large enough for a disk or an object store to be at its best.
const READ_LIMIT: u32 = 4 << 20;
/// Most frames of one read, and so most plain bytes (1 MiB each) that it becomes.
const FRAMES_LIMIT: usize = 4;
/// Bytes between two frames that are read and thrown away rather than asked around.
const GAP_LIMIT: u32 = 64 << 10;

/// One read, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedRead {
    pub(crate) pack: PackId,
    pub(crate) range: Range<u32>,
    pub(crate) frames: Vec<PlannedFrame>,
}

/// A frame in a read, and the chunks wanted of it with their offsets in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedFrame {
    pub(crate) location: FrameLocation,
    pub(crate) chunks: Vec<(u64, LeafChunk)>,
}

impl PlannedRead {
    /// A frame by itself.
    pub(crate) fn of(frame: PlannedFrame) -> Self {
        let (start, length) = (frame.location.offset, frame.location.length);
        Self {
            pack: frame.location.pack,
            range: start..start.saturating_add(length),
            frames: vec![frame],
        }
    }
}

/// Groups chunks by frame, and frames that lie together by read.
pub(crate) fn plan_reads(chunks: impl IntoIterator<Item = (u64, LeafChunk)>) -> Vec<PlannedRead> {
    let mut frames: BTreeMap<FrameLocation, Vec<(u64, LeafChunk)>> = BTreeMap::new();
    for (offset, chunk) in chunks {
        frames.entry(chunk.frame).or_default().push((offset, chunk));
    }
    let mut reads: Vec<PlannedRead> = Vec::new();
    for (location, mut chunks) in frames {
        chunks.sort_unstable_by_key(|(offset, _)| *offset);
        let end = location.offset.saturating_add(location.length);
        let frame = PlannedFrame { location, chunks };
        match reads.last_mut() {
            Some(read) if joins(read, &location, end) => {
                read.range.end = read.range.end.max(end);
                read.frames.push(frame);
            }
            _ => reads.push(PlannedRead {
                pack: location.pack,
                range: location.offset..end,
                frames: vec![frame],
            }),
        }
    }
    reads
}

fn joins(read: &PlannedRead, next: &FrameLocation, end: u32) -> bool {
    read.pack == next.pack
        && read.frames.len() < FRAMES_LIMIT
        && next.offset.saturating_sub(read.range.end) <= GAP_LIMIT
        && end.saturating_sub(read.range.start) <= READ_LIMIT
}

#[cfg(test)]
mod tests {
    use super::*;
    use tresor_vault_format::ChunkId;

    fn chunk(pack: u8, offset: u32, slot: u8) -> LeafChunk {
        let frame = FrameLocation {
            pack: PackId([pack; 16]),
            offset,
            length: 1000,
        };
        LeafChunk {
            id: ChunkId([slot; 32]),
            frame,
            slot,
        }
    }

    #[test]
    fn frames_that_lie_together_are_one_read() {
        let reads = plan_reads([
            (0, chunk(1, 3000, 0)),
            (1, chunk(1, 1000, 1)),
            (2, chunk(1, 2000, 0)),
            (3, chunk(1, 500_000, 0)),
            (4, chunk(2, 1000, 0)),
            (5, chunk(1, 1000, 0)),
        ]);
        let ranges: Vec<_> = reads
            .iter()
            .map(|read| (read.pack.0[0], read.range.clone()))
            .collect();
        assert_eq!(
            ranges,
            [(1, 1000..4000), (1, 500_000..501_000), (2, 1000..2000)]
        );
        let offsets: Vec<_> = reads[0].frames[0]
            .chunks
            .iter()
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(offsets, [1, 5]);
    }

    #[test]
    fn a_read_is_bounded() {
        let reads = plan_reads((0..100).map(|n| (u64::from(n), chunk(1, n * 1000, 0))));
        assert_eq!(reads.len(), 25);
        assert!(reads.iter().all(|read| read.frames.len() <= FRAMES_LIMIT));
    }
}
