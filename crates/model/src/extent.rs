//! Byte ranges of a disk.

use serde::{Deserialize, Serialize};

/// A range of bytes: `start`, and `length` bytes from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// Number of bytes.
    pub length: u64,
}

impl Extent {
    /// The range from `start` up to and without `end`; empty when they cross.
    #[must_use]
    pub const fn between(start: u64, end: u64) -> Self {
        Self {
            start,
            length: end.saturating_sub(start),
        }
    }

    /// The first byte behind the range.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }

    /// Whether it holds no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The part that lies in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        Self::between(self.start.max(other.start), self.end().min(other.end()))
    }

    /// The smallest range around it whose ends are multiples of `grain` (or the disk's end).
    #[must_use]
    pub fn align_out(&self, grain: u64, disk_size: u64) -> Self {
        let start = self.start - self.start % grain;
        let end = self
            .end()
            .div_ceil(grain)
            .saturating_mul(grain)
            .min(disk_size);
        Self::between(start, end)
    }
}

/// Disjoint ranges in rising order; ranges that touch are one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExtentSet(Vec<Extent>);

impl ExtentSet {
    /// Sorts, merges and drops what is empty.
    #[must_use]
    pub fn from_unsorted(mut extents: Vec<Extent>) -> Self {
        extents.sort_unstable();
        let mut set = Self::default();
        for extent in extents {
            set.push(extent);
        }
        set
    }

    /// Adds a range that begins at or behind the beginning of the last one.
    pub fn push(&mut self, extent: Extent) {
        if extent.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some(last) if extent.start <= last.end() => {
                *last = Extent::between(last.start, last.end().max(extent.end()));
            }
            _ => self.0.push(extent),
        }
    }

    /// The ranges.
    pub fn iter(&self) -> impl Iterator<Item = &Extent> {
        self.0.iter()
    }

    /// How many bytes the ranges hold together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|extent| extent.length).sum()
    }

    /// Whether there is no range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each range widened to multiples of `grain`.
    #[must_use]
    pub fn align_out(&self, grain: u64, disk_size: u64) -> Self {
        Self::from_unsorted(
            self.0
                .iter()
                .map(|extent| extent.align_out(grain, disk_size))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_and_overlapping_ranges_are_one() {
        let set = ExtentSet::from_unsorted(vec![
            Extent {
                start: 20,
                length: 5,
            },
            Extent {
                start: 0,
                length: 10,
            },
            Extent {
                start: 5,
                length: 5,
            },
            Extent {
                start: 10,
                length: 2,
            },
            Extent {
                start: 40,
                length: 0,
            },
        ]);
        let ranges: Vec<_> = set.iter().copied().collect();
        assert_eq!(
            ranges,
            [
                Extent {
                    start: 0,
                    length: 12
                },
                Extent {
                    start: 20,
                    length: 5
                }
            ]
        );
        assert_eq!(set.total(), 17);
    }

    #[test]
    fn widening_stops_at_the_end_of_the_disk() {
        let wide = Extent {
            start: 70,
            length: 20,
        }
        .align_out(64, 100);
        assert_eq!(
            wide,
            Extent {
                start: 64,
                length: 36
            }
        );
    }
}
