//! The one place where a wanted part is judged against an object's size.

use std::ops::Range;

/// What of an object is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// All of it, if it has at most so many bytes.
    Whole(u64),
    /// These bytes.
    Range(Range<u64>),
}

impl Part {
    /// Where the part lies in an object of `size` bytes: offset and length. `None` when it does
    /// not lie inside, or is larger than allowed, or than this machine can address. The length
    /// never exceeds the object's: a wild range allocates nothing.
    #[must_use]
    pub fn place_in(&self, size: u64) -> Option<(u64, usize)> {
        let (start, end) = match self {
            Self::Whole(max_size) if size <= *max_size => (0, size),
            Self::Range(range) if range.end <= size => (range.start, range.end),
            Self::Whole(_) | Self::Range(_) => return None,
        };
        let len = end.checked_sub(start)?;
        Some((start, usize::try_from(len).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_must_lie_inside() {
        #[expect(
            clippy::reversed_empty_ranges,
            reason = "a caller's mistake, on purpose"
        )]
        let reversed = 3..2;
        for (part, size, want) in [
            (Part::Range(0..0), 0, Some((0, 0))),
            (Part::Range(1..4), 4, Some((1, 3))),
            (Part::Range(4..4), 4, Some((4, 0))),
            (Part::Range(0..5), 4, None),
            (Part::Range(5..5), 4, None),
            (Part::Range(reversed), 4, None),
            (Part::Range(0..u64::MAX), 4, None),
            (Part::Whole(4), 4, Some((0, 4))),
            (Part::Whole(3), 4, None),
            (Part::Whole(u64::MAX), 0, Some((0, 0))),
        ] {
            assert_eq!(part.place_in(size), want, "{part:?} of {size}");
        }
    }
}
