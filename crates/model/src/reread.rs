//! Re-reading what the tracking calls clean: a write around the hypervisor leaves no sign, so a
//! share of the clean blocks is compared at each backup, another one each time, until every block
//! was looked at (invariant I6).

use std::{fmt, num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Extent;

/// The disk is dealt out in stripes of this many bytes: long enough to be read cheaply, short
/// enough that a share is spread over the whole disk.
const STRIPE: u64 = 1 << 20;

/// More parts than this would take years of daily backups.
const MOST_PARTS: u32 = 65_536;

/// Which fraction of the clean blocks each backup looks at: `1/64`, `0` (none), `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RereadFraction(Option<NonZeroU32>);

impl Default for RereadFraction {
    /// One of 64: within 64 backups every block was looked at.
    fn default() -> Self {
        Self(NonZeroU32::new(64))
    }
}

/// A text that is no fraction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither `0` nor `all` nor `1/N` with N from 1 to {MOST_PARTS}")]
pub struct RereadFractionError(String);

impl FromStr for RereadFraction {
    type Err = RereadFractionError;

    fn from_str(text: &str) -> Result<Self, RereadFractionError> {
        let parts = match text {
            "0" => return Ok(Self(None)),
            "all" => NonZeroU32::new(1),
            _ => text
                .strip_prefix("1/")
                .and_then(|parts| parts.parse().ok())
                .filter(|parts: &NonZeroU32| parts.get() <= MOST_PARTS),
        };
        let parts = parts.ok_or_else(|| RereadFractionError(text.to_owned()))?;
        Ok(Self(Some(parts)))
    }
}

impl fmt::Display for RereadFraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.map(NonZeroU32::get) {
            None => f.write_str("0"),
            Some(1) => f.write_str("all"),
            Some(parts) => write!(f, "1/{parts}"),
        }
    }
}

impl RereadFraction {
    /// The share that is due; `before` is what the last point says. A cycle begins anew when the
    /// fraction is another one.
    #[must_use]
    pub fn decide_share(self, before: Option<&RereadRecord>) -> Option<RereadShare> {
        let of = self.0?;
        let part = before
            .filter(|before| before.of == of.get())
            .map_or(0, |before| before.next % of);
        Some(RereadShare { part, of })
    }
}

/// One backup's share of the clean blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RereadShare {
    part: u32,
    of: NonZeroU32,
}

impl RereadShare {
    /// The share's ranges within a window, in rising order: every `of`th stripe of the disk.
    pub fn stripes(self, window: Extent) -> impl Iterator<Item = Extent> {
        let (part, of) = (u64::from(self.part), u64::from(self.of.get()));
        let first = window.start / STRIPE;
        let first = first + (part + of - first % of) % of;
        let step = usize::try_from(self.of.get()).unwrap_or(usize::MAX);
        (first..window.end().div_ceil(STRIPE))
            .step_by(step)
            .map(move |stripe| {
                Extent {
                    start: stripe * STRIPE,
                    length: STRIPE,
                }
                .intersect(&window)
            })
    }

    /// What the recovery point keeps when the share was looked at.
    #[must_use]
    pub fn record(self, bytes: u64, differing: u64) -> RereadRecord {
        RereadRecord {
            next: (self.part + 1) % self.of,
            of: self.of.get(),
            bytes,
            differing,
        }
    }
}

/// How far the re-reading of a disk is, kept with each recovery point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RereadRecord {
    /// The part of the clean blocks that is due next, from 0.
    pub next: u32,
    /// How many parts there are.
    pub of: u32,
    /// Bytes that were compared for this point.
    pub bytes: u64,
    /// Of these, bytes in blocks that were not what the point before has.
    pub differing: u64,
}

impl RereadRecord {
    /// For a point for which nothing was compared: the place in the cycle is kept.
    #[must_use]
    pub fn not_this_time(self) -> Self {
        Self {
            bytes: 0,
            differing: 0,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fractions_are_read_as_they_are_written() {
        for text in ["0", "all", "1/2", "1/64", "1/65536"] {
            let fraction: RereadFraction = text.parse().expect("valid");
            assert_eq!(fraction.to_string(), text);
        }
        for text in ["", "1", "1/0", "2/3", "1/65537", "1/-4", "64"] {
            text.parse::<RereadFraction>().expect_err(text);
        }
        assert_eq!(RereadFraction::default().to_string(), "1/64");
    }

    #[test]
    fn rounds_roll_on_and_begin_anew_with_another_fraction() {
        let fraction: RereadFraction = "1/3".parse().expect("valid");
        let mut before = None;
        let mut parts = Vec::new();
        for _ in 0..5 {
            let share = fraction.decide_share(before.as_ref()).expect("a share");
            parts.push(share.part);
            before = Some(share.record(1, 0));
        }
        assert_eq!(parts, [0, 1, 2, 0, 1]);
        let kept = before.map(RereadRecord::not_this_time);
        let share = fraction.decide_share(kept.as_ref()).expect("a share");
        assert_eq!(
            share.part, 2,
            "a backup that compared nothing skips nothing"
        );
        let other = RereadFraction::default().decide_share(before.as_ref());
        assert_eq!(other.expect("a share").part, 0);
        let none: RereadFraction = "0".parse().expect("valid");
        assert_eq!(none.decide_share(before.as_ref()), None);
    }

    #[test]
    fn a_place_outside_of_the_cycle_is_no_place() {
        let hostile = RereadRecord {
            next: u32::MAX,
            of: 64,
            bytes: 0,
            differing: 0,
        };
        let share = RereadFraction::default().decide_share(Some(&hostile));
        assert!(share.expect("a share").part < 64);
    }

    proptest! {
        /// Windows of any size, as a transfer asks for them: within a cycle every byte of the
        /// disk comes once.
        #[test]
        fn within_a_cycle_every_block_comes_exactly_once(
            size in 1_u64..200 << 20, parts in 1_u32..70, window in 1_u64..40,
        ) {
            let fraction: RereadFraction = format!("1/{parts}").parse().expect("valid");
            let mut seen = Vec::new();
            let mut before = None;
            for _ in 0..parts {
                let share = fraction.decide_share(before.as_ref()).expect("a share");
                let mut start = 0;
                while start < size {
                    let end = size.min(start + (window << 16));
                    let stripes = share.stripes(Extent::between(start, end));
                    seen.extend(stripes.filter(|stripe| !stripe.is_empty()));
                    start = end;
                }
                before = Some(share.record(0, 0));
            }
            seen.sort_unstable();
            let mut end = 0;
            for stripe in seen {
                prop_assert_eq!(stripe.start, end);
                end = stripe.end();
            }
            prop_assert_eq!(end, size);
        }
    }
}
