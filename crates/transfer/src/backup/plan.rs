//! Which reads a list of extents asks for. Pure.

use tresor_disk::{ChangedExtent, ExtentKind};
use tresor_model::{Extent, ExtentSet};

/// One step of a transfer, in rising order of offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Read these bytes.
    Read(Extent),
    /// These bytes are zeros.
    Zero(Extent),
}

/// Turns the extents of a window into steps that respect chunks.
///
/// A chunk that holds any data is read whole; only whole chunks are taken as zero on the
/// provider's word. Reads do not cross multiples of `read_size`, so that equal content at equal
/// offsets is read alike in every backup.
///
/// `window` begins at a multiple of `chunk`, and ends at one or at the end of the disk.
pub(super) fn plan_steps(
    extents: &[ChangedExtent],
    window: Extent,
    chunk: u64,
    read_size: u64,
) -> Vec<Step> {
    let all = aligned(extents, window, chunk, |_| true);
    let data = aligned(extents, window, chunk, |kind| kind == ExtentKind::Data);
    let mut steps = Vec::new();
    let mut data = data.iter().copied().peekable();
    for extent in all.iter() {
        let mut at = extent.start;
        while at < extent.end() {
            match data.peek() {
                Some(next) if next.start <= at => {
                    let end = next.end().min(extent.end());
                    steps.extend(split(Extent::between(at, end), read_size).map(Step::Read));
                    at = end;
                    data.next();
                }
                next => {
                    let end = next.map_or(extent.end(), |next| next.start.min(extent.end()));
                    steps.push(Step::Zero(Extent::between(at, end)));
                    at = end;
                }
            }
        }
    }
    steps
}

/// Whether some of the window is in no extent.
pub(super) fn leaves_gaps(extents: &[ChangedExtent], window: Extent) -> bool {
    let listed = extents
        .iter()
        .map(|listed| listed.extent.intersect(&window));
    ExtentSet::from_unsorted(listed.collect()).total() != window.length
}

/// The chosen extents, widened to chunks and cut to the window.
fn aligned(
    extents: &[ChangedExtent],
    window: Extent,
    chunk: u64,
    choose: impl Fn(ExtentKind) -> bool,
) -> ExtentSet {
    let chosen = extents
        .iter()
        .filter(|changed| choose(changed.kind))
        .map(|changed| {
            changed
                .extent
                .intersect(&window)
                .align_out(chunk, window.end())
        })
        .collect();
    ExtentSet::from_unsorted(chosen)
}

fn split(extent: Extent, at_multiples_of: u64) -> impl Iterator<Item = Extent> {
    let mut start = extent.start;
    std::iter::from_fn(move || {
        let end = (start - start % at_multiples_of + at_multiples_of).min(extent.end());
        let piece = Extent::between(start, end);
        start = end;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = 64;
    const READ: u64 = 256;

    fn data(start: u64, end: u64) -> ChangedExtent {
        ChangedExtent {
            extent: Extent::between(start, end),
            kind: ExtentKind::Data,
        }
    }

    fn zero(start: u64, end: u64) -> ChangedExtent {
        ChangedExtent {
            extent: Extent::between(start, end),
            kind: ExtentKind::Zero,
        }
    }

    fn plan(extents: &[ChangedExtent], size: u64) -> Vec<Step> {
        plan_steps(extents, Extent::between(0, size), CHUNK, READ)
    }

    #[test]
    fn a_chunk_with_any_data_is_read_whole() {
        let steps = plan(&[zero(0, 70), data(70, 80), zero(80, 256)], 256);
        assert_eq!(
            steps,
            [
                Step::Zero(Extent::between(0, 64)),
                Step::Read(Extent::between(64, 128)),
                Step::Zero(Extent::between(128, 256)),
            ]
        );
    }

    #[test]
    fn what_is_not_listed_is_not_touched() {
        let steps = plan(&[data(64, 128), data(512, 576)], 1024);
        assert_eq!(
            steps,
            [
                Step::Read(Extent::between(64, 128)),
                Step::Read(Extent::between(512, 576))
            ]
        );
    }

    #[test]
    fn reads_are_cut_at_fixed_offsets_and_at_the_end_of_the_disk() {
        let steps = plan(&[data(200, 600)], 600);
        assert_eq!(
            steps,
            [
                Step::Read(Extent::between(192, 256)),
                Step::Read(Extent::between(256, 512)),
                Step::Read(Extent::between(512, 600)),
            ]
        );
    }

    #[test]
    fn a_gap_anywhere_is_seen() {
        let window = Extent::between(0, 256);
        assert!(!leaves_gaps(&[zero(0, 100), data(100, 300)], window));
        assert!(leaves_gaps(&[zero(0, 99), data(100, 256)], window));
        assert!(leaves_gaps(&[zero(0, 255)], window));
        assert!(leaves_gaps(&[], window));
    }

    #[test]
    fn every_listed_byte_is_in_exactly_one_step() {
        let extents = [zero(10, 100), data(90, 300), zero(300, 700), data(705, 710)];
        let mut end = 0;
        for step in plan(&extents, 1000) {
            let (Step::Read(extent) | Step::Zero(extent)) = step;
            assert!(extent.start >= end);
            end = extent.end();
        }
        assert_eq!(end, 768);
    }
}
