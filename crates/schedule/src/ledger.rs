//! What is planned on a resource, minute by minute.
//!
//! Kept in blocks of six hours that exist only where something is planned, so that memory follows
//! the plans and not how far ahead they lie.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::time::Minute;

/// Minutes of a block.
const BLOCK: Minute = 360;
const LENGTH: usize = 360;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    blocks: BTreeMap<Minute, Box<Block>>,
}

#[derive(Debug)]
struct Block {
    /// Jobs expected to run.
    running: [u32; LENGTH],
    /// Jobs that are to start.
    starts: [u32; LENGTH],
    /// Bytes that are to start moving in this minute.
    bytes: [u64; LENGTH],
    /// Entries above zero in `running`.
    busy: u32,
}

/// A job as it is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planned {
    /// The minute of its start.
    pub start: Minute,
    /// Minutes it is expected to run, at least one.
    pub length: Minute,
    /// Bytes it is expected to move.
    pub bytes: u64,
}

impl Planned {
    fn minutes(&self) -> Range<Minute> {
        self.start..self.start + self.length
    }
}

impl Ledger {
    pub(crate) fn add(&mut self, planned: &Planned) {
        for minute in planned.minutes() {
            let (block, at) = place_of(minute);
            let block = self.blocks.entry(block).or_insert_with(Block::empty);
            block.busy += u32::from(block.running[at] == 0);
            block.running[at] += 1;
            if minute == planned.start {
                block.starts[at] += 1;
                block.bytes[at] = block.bytes[at].saturating_add(planned.bytes);
            }
        }
    }

    /// Takes back what was added. Of what [`Ledger::forget_before`] has dropped nothing is left.
    pub(crate) fn remove(&mut self, planned: &Planned) {
        for minute in planned.minutes() {
            let (number, at) = place_of(minute);
            let Some(block) = self.blocks.get_mut(&number) else {
                continue;
            };
            block.running[at] = block.running[at].saturating_sub(1);
            block.busy -= u32::from(block.running[at] == 0);
            if minute == planned.start {
                block.starts[at] = block.starts[at].saturating_sub(1);
                block.bytes[at] = block.bytes[at].saturating_sub(planned.bytes);
            }
            if block.busy == 0 {
                self.blocks.remove(&number);
            }
        }
    }

    /// Drops the blocks that end before a minute.
    pub(crate) fn forget_before(&mut self, minute: Minute) {
        self.blocks = self.blocks.split_off(&minute.div_euclid(BLOCK));
    }

    /// Starts planned in a minute.
    pub(crate) fn starts(&self, minute: Minute) -> u32 {
        let (block, at) = place_of(minute);
        self.blocks.get(&block).map_or(0, |block| block.starts[at])
    }

    /// Bytes of the starts planned in a minute.
    pub(crate) fn bytes(&self, minute: Minute) -> u64 {
        let (block, at) = place_of(minute);
        self.blocks.get(&block).map_or(0, |block| block.bytes[at])
    }

    /// The most that is planned to run at once.
    pub(crate) fn peak(&self, minutes: Range<Minute>) -> u32 {
        let parts = self.parts(minutes);
        parts
            .flat_map(|(_, running)| running.iter().copied())
            .max()
            .unwrap_or(0)
    }

    /// The last minute in which so many or more are planned to run.
    pub(crate) fn last_with(&self, minutes: Range<Minute>, count: u32) -> Option<Minute> {
        self.parts(minutes).rev().find_map(|(from, running)| {
            let at = running.iter().rposition(|here| *here >= count)?;
            Some(from + Minute::try_from(at).ok()?)
        })
    }

    /// The first minute in which so many or more are planned to run.
    pub(crate) fn first_with(&self, minutes: Range<Minute>, count: u32) -> Option<Minute> {
        self.parts(minutes).find_map(|(from, running)| {
            let at = running.iter().position(|here| *here >= count)?;
            Some(from + Minute::try_from(at).ok()?)
        })
    }

    /// The counts of a range where there are any, each with its first minute.
    fn parts(
        &self,
        minutes: Range<Minute>,
    ) -> impl DoubleEndedIterator<Item = (Minute, &[u32])> + '_ {
        let (first, last) = (
            minutes.start.div_euclid(BLOCK),
            (minutes.end - 1).max(minutes.start).div_euclid(BLOCK),
        );
        self.blocks.range(first..=last).map(move |(number, block)| {
            let base = number * BLOCK;
            let within = |minute: Minute| usize::try_from(minute.clamp(0, BLOCK)).unwrap_or(0);
            let (from, to) = (within(minutes.start - base), within(minutes.end - base));
            (minutes.start.max(base), &block.running[from..to])
        })
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

impl Block {
    fn empty() -> Box<Self> {
        Box::new(Self {
            running: [0; LENGTH],
            starts: [0; LENGTH],
            bytes: [0; LENGTH],
            busy: 0,
        })
    }
}

fn place_of(minute: Minute) -> (Minute, usize) {
    let at = usize::try_from(minute.rem_euclid(BLOCK)).unwrap_or(0);
    (minute.div_euclid(BLOCK), at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(start: Minute, length: Minute) -> Planned {
        Planned {
            start,
            length,
            bytes: 10,
        }
    }

    #[test]
    fn what_is_planned_is_counted_across_blocks_and_taken_back() {
        let mut ledger = Ledger::default();
        ledger.add(&planned(358, 5));
        ledger.add(&planned(360, 1));
        ledger.add(&planned(-3, 2));
        assert_eq!(ledger.peak(0..1000), 2);
        assert_eq!(ledger.peak(358..360), 1);
        assert_eq!(ledger.peak(-3..-2), 1);
        assert_eq!(ledger.last_with(0..1000, 1), Some(362));
        assert_eq!(ledger.last_with(0..1000, 2), Some(360));
        assert_eq!(ledger.first_with(0..1000, 1), Some(358));
        assert_eq!(ledger.first_with(361..1000, 2), None);
        assert_eq!((ledger.starts(360), ledger.starts(361)), (1, 0));
        assert_eq!(ledger.bytes(358), 10);
        ledger.remove(&planned(358, 5));
        ledger.remove(&planned(360, 1));
        ledger.remove(&planned(-3, 2));
        assert!(ledger.is_empty());
    }

    #[test]
    fn the_past_is_dropped_and_may_be_taken_back() {
        let mut ledger = Ledger::default();
        ledger.add(&planned(358, 5));
        ledger.forget_before(400);
        assert_eq!(ledger.peak(0..1000), 1);
        assert_eq!(ledger.first_with(0..1000, 1), Some(360));
        ledger.remove(&planned(358, 5));
        assert!(ledger.is_empty());
    }
}
