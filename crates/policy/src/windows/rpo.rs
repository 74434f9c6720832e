//! The longest time between two recovery points.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::Windows;
use crate::length::in_words;

/// 28 years: after so many days each date has its day of the week again and the leap years are where
/// they were, as long as no year in between is a century's without a leap day (2100).
const CYCLE: SignedDuration = SignedDuration::from_hours(24 * 10_227);

/// Looked at in any case: four seasons, and both changes of the clock.
const YEAR: SignedDuration = SignedDuration::from_hours(24 * 366);

/// So many occasions are looked at beyond a year.
const ENOUGH: usize = 500_000;

/// The worst-case gap: the longest time that two neighbouring recovery points can lie apart when each
/// backup succeeds in its window. The recovery point objective that a policy can promise, but for the
/// time that a transfer takes until its point is there.
///
/// Between two neighbouring occasions it is from the first moment at which the earlier one can start to the
/// last at which the later one can. All occasions are looked at, one by one, with their blackouts
/// and each change of the clock: for 28 years, after which a calendar without years repeats itself
/// in a zone with a rule. A schedule that is due more often than each half hour is looked at for as many
/// years as make 500,000 occasions, but for one at least; [`Rpo::looked_until`] tells.
///
/// Before the first occasion there is no gap: what was before is not known here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rpo {
    /// The longest gap. `None` when there is none: fewer than two occasions can be used.
    pub worst: Option<Gap>,
    /// The last moment that is due, when nothing follows it: from then on the gap grows.
    pub ends: Option<Timestamp>,
    /// Occasions that blackouts cover.
    pub covered: usize,
    /// All occasions that were looked at.
    pub occasions: usize,
    /// The time that was looked at ends here.
    pub looked_until: Timestamp,
}

/// A time between two recovery points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The earliest moment of the first one.
    pub from: Timestamp,
    /// The latest moment of the second one.
    pub until: Timestamp,
}

impl Gap {
    /// How long it is.
    #[must_use]
    pub fn length(&self) -> SignedDuration {
        self.until.duration_since(self.from)
    }
}

impl Rpo {
    pub(super) fn of(windows: &Windows, from: Timestamp) -> Self {
        let later = |span| from.saturating_add(span).unwrap_or(Timestamp::MAX);
        let (year, cycle) = (later(YEAR), later(CYCLE));
        let mut rpo = Self {
            worst: None,
            ends: None,
            covered: 0,
            occasions: 0,
            looked_until: cycle,
        };
        let mut earliest = None;
        for occasion in windows.after(from) {
            rpo.occasions += 1;
            rpo.ends = Some(occasion.due);
            let enough = rpo.occasions > ENOUGH && occasion.due > year || occasion.due > cycle;
            // The gap that reaches over the end belongs to it, if there is an end to it.
            let far = rpo.occasions > 2 * ENOUGH && occasion.due > later(YEAR * 2)
                || occasion.due > later(CYCLE + YEAR);
            let usable = occasion.windows.first().zip(occasion.windows.last());
            if let Some((first, last)) = usable {
                let until = last.closes;
                if let Some(from) = earliest.replace(first.opens) {
                    rpo.see(Gap { from, until });
                }
            } else {
                rpo.covered += 1;
            }
            if enough && (usable.is_some() || far) {
                rpo.looked_until = occasion.due;
                rpo.ends = None;
                break;
            }
        }
        rpo
    }

    fn see(&mut self, gap: Gap) {
        if self.worst.is_none_or(|worst| worst.length() < gap.length()) {
            self.worst = Some(gap);
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_words(self.length().as_secs()))
    }
}

impl fmt::Display for Rpo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.worst {
            Some(gap) => f.write_str(&in_words(gap.length().as_secs()))?,
            None => f.write_str("no two points")?,
        }
        if let Some(ends) = self.ends {
            write!(f, ", nothing after {}", ends.strftime("%Y-%m-%d %H:%M UTC"))?;
        }
        Ok(())
    }
}
