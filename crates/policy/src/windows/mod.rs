//! When backups may start: a schedule's moments, how long after each a start may be placed, and the
//! blackouts in which nothing starts.
//!
//! Each moment of a schedule is one [`Occasion`] for one start, in its [`StartWindow`]s: the time
//! from the moment on, less the blackouts. Half-open: a start at `closes` is too late.
//!
//! - An occasion ends at the latest when the next is due: what is due again is due once.
//! - Schedules that are due at one moment make one occasion, with the longest window.
//! - An occasion that blackouts cover has no window. It is still listed, so that a run that is left out is
//!   told and not only missing.
//!
//! What repeats is computed as it is asked for, in order, with a memory that the longest blackout bounds.

mod blackout;
mod occasion;
mod rpo;

use jiff::{SignedDuration, Timestamp};

use crate::calendar::Timetable;
pub use occasion::{Occasion, Occasions, StartWindow};
pub use rpo::{Gap, Rpo};

/// A timetable, and how long what it starts takes.
#[derive(Debug, Clone)]
pub(crate) struct Recurring {
    pub(crate) timetable: Timetable,
    pub(crate) lasts: SignedDuration,
}

/// The schedules and blackouts of a policy, in their zones.
#[derive(Debug, Clone)]
pub struct Windows {
    schedules: Vec<Recurring>,
    blackouts: Vec<Recurring>,
}

impl Windows {
    pub(crate) fn new(schedules: Vec<Recurring>, blackouts: Vec<Recurring>) -> Self {
        Self {
            schedules,
            blackouts,
        }
    }

    /// The occasions that are due after `after`.
    #[must_use]
    pub fn after(&self, after: Timestamp) -> Occasions<'_> {
        Occasions::new(self, after)
    }

    /// The occasions in whose time something of `from` (with it) to `until` (without it) lies.
    pub fn between(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = Occasion> + '_ {
        let longest = self.schedules.iter().map(|schedule| schedule.lasts).max();
        let before = from.saturating_sub(longest.unwrap_or_default());
        self.after(before.unwrap_or(Timestamp::MIN))
            .take_while(move |occasion| occasion.due < until)
            .filter(move |occasion| occasion.ends > from)
    }

    /// The longest time between two recovery points, from `from` on, when each backup succeeds. [`Rpo`]
    /// says how it is computed.
    #[must_use]
    pub fn rpo(&self, from: Timestamp) -> Rpo {
        Rpo::of(self, from)
    }
}

#[cfg(test)]
mod tests;
