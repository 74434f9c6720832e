//! From block status to changed extents. Pure.

use tresor_disk::{ChangedExtent, ExtentKind};
use tresor_model::{Extent, ExtentSet};

/// Extents are widened to this: the grain of bitmaps and chunks.
pub(crate) const GRAIN: u64 = 64 << 10;

/// A run of block status: bytes, and whether they are "on" (dirty, or not zero).
pub(crate) type Run = (u64, bool);

/// The changed extents of a window.
///
/// `data` tells what is not zero, `dirty` what changed (`None`: everything did); both begin at the
/// window's start. A grain that holds any changed data is `Data` as a whole; one that changed and
/// reads as zeros throughout is `Zero`. Runs shorter than the window are taken to go on as changed
/// data: to read too much is safe.
pub(crate) fn changed(
    window: Extent,
    disk_size: u64,
    data: &[Run],
    dirty: Option<&[Run]>,
) -> Vec<ChangedExtent> {
    let data = switched_on(window, data);
    let dirty = match dirty {
        Some(runs) => switched_on(window, runs),
        None => ExtentSet::from_unsorted(vec![window]),
    };
    let read = intersect(&data, &dirty).align_out(GRAIN, disk_size);
    let dirty = dirty.align_out(GRAIN, disk_size);
    let mut extents = Vec::new();
    // Both are aligned and data is part of what is dirty: each run of data lies in one dirty run.
    let mut reads = read.iter().peekable();
    for dirty in dirty.iter() {
        let mut at = dirty.start;
        while let Some(read) = reads.next_if(|read| read.start < dirty.end()) {
            push(
                &mut extents,
                window,
                Extent::between(at, read.start),
                ExtentKind::Zero,
            );
            push(&mut extents, window, *read, ExtentKind::Data);
            at = read.end();
        }
        push(
            &mut extents,
            window,
            Extent::between(at, dirty.end()),
            ExtentKind::Zero,
        );
    }
    extents
}

fn switched_on(window: Extent, runs: &[Run]) -> ExtentSet {
    let mut set = ExtentSet::default();
    let mut at = window.start;
    for &(length, on) in runs {
        let end = at.saturating_add(length).min(window.end());
        if on {
            set.push(Extent::between(at, end));
        }
        at = end;
    }
    set.push(Extent::between(at, window.end()));
    set
}

fn intersect(one: &ExtentSet, other: &ExtentSet) -> ExtentSet {
    let (mut ones, mut others) = (one.iter().peekable(), other.iter().peekable());
    let mut both = ExtentSet::default();
    while let (Some(a), Some(b)) = (ones.peek(), others.peek()) {
        both.push(a.intersect(b));
        if a.end() < b.end() {
            ones.next();
        } else {
            others.next();
        }
    }
    both
}

fn push(extents: &mut Vec<ChangedExtent>, window: Extent, extent: Extent, kind: ExtentKind) {
    let extent = extent.intersect(&window);
    if !extent.is_empty() {
        extents.push(ChangedExtent { extent, kind });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DISK: u64 = 10 * GRAIN + 512;

    fn words(extents: &[ChangedExtent]) -> Vec<(u64, u64, ExtentKind)> {
        extents
            .iter()
            .map(|changed| (changed.extent.start, changed.extent.length, changed.kind))
            .collect()
    }

    #[test]
    fn a_full_is_data_and_zeros_without_gaps() {
        let window = Extent::between(0, DISK);
        let data = [(GRAIN + 5, false), (10, true), (DISK, false)];
        let extents = changed(window, DISK, &data, None);
        let expected = [
            (0, GRAIN, ExtentKind::Zero),
            (GRAIN, GRAIN, ExtentKind::Data),
            (2 * GRAIN, DISK - 2 * GRAIN, ExtentKind::Zero),
        ];
        assert_eq!(words(&extents), expected);
    }

    #[test]
    fn an_incremental_is_only_what_is_dirty() {
        let window = Extent::between(0, DISK);
        let data = [(DISK, true)];
        let dirty = [(GRAIN, false), (GRAIN, true), (DISK, false)];
        let extents = changed(window, DISK, &data, Some(&dirty));
        assert_eq!(words(&extents), [(GRAIN, GRAIN, ExtentKind::Data)]);
    }

    #[test]
    fn the_last_grain_ends_with_the_disk() {
        let window = Extent::between(9 * GRAIN, DISK);
        let dirty = [(GRAIN, false), (512, true)];
        let extents = changed(window, DISK, &[(DISK, true)], Some(&dirty));
        assert_eq!(words(&extents), [(10 * GRAIN, 512, ExtentKind::Data)]);
    }

    #[test]
    fn what_the_server_does_not_tell_is_read() {
        let window = Extent::between(0, 2 * GRAIN);
        let extents = changed(window, DISK, &[(GRAIN, false)], Some(&[]));
        let expected = [
            (0, GRAIN, ExtentKind::Zero),
            (GRAIN, GRAIN, ExtentKind::Data),
        ];
        assert_eq!(words(&extents), expected);
    }

    fn runs() -> impl Strategy<Value = Vec<Run>> {
        proptest::collection::vec((1..3 * GRAIN, any::<bool>()), 0..12)
    }

    fn is_on(runs: &[Run], at: u64) -> bool {
        let mut end = 0;
        for &(length, on) in runs {
            end += length;
            if at < end {
                return on;
            }
        }
        true
    }

    proptest! {
        #[test]
        fn no_changed_byte_is_missed_and_no_data_called_zero(
            data in runs(), dirty in runs(), probes in proptest::collection::vec(0..DISK, 64),
        ) {
            let window = Extent::between(0, DISK);
            let extents = changed(window, DISK, &data, Some(&dirty));
            for pair in extents.windows(2) {
                prop_assert!(pair[0].extent.end() <= pair[1].extent.start);
            }
            for at in probes {
                let found = extents.iter().find(|changed| {
                    changed.extent.start <= at && at < changed.extent.end()
                });
                if is_on(&dirty, at) {
                    let found = found.expect("changed bytes are listed");
                    prop_assert!(!is_on(&data, at) || found.kind == ExtentKind::Data);
                }
            }
        }
    }
}
