//! A fleet of protected items over some weeks, with everything that goes wrong: what the scheduler
//! makes of it, and what a fixed-time cron of the same fleet does.
//!
//! The world is a function of the seed: how long a run of an item takes, whether it fails, when
//! which host is away. So both schedules meet the same fate. A third of the way in, at noon, the
//! service is away for a day and comes back with what it has stored; two thirds in, clocks are set back.
//!
//! # Could it have been met?
//! A recovery point that came too late for its deadline could have been met unless
//! 1. even alone it could not: an item with everything for itself, started the first second that its
//!    window, the service and its host allow, with the failures it had and their back-offs, ends
//!    after its deadline ([`bound`]'s `alone`); or
//! 2. it is one of so many that had to be late: of what had to run on a resource after it (or the
//!    service) had been away, the fewest late jobs that somebody achieves who knows how long each
//!    takes and has the resource for these jobs alone. Exactly for the two places of a host; for
//!    more, by the rule of Moore and Hodgson on one machine as fast as all places together; and by
//!    the gap between starts alone. Nobody can do better, so what is left over this number is
//!    counted against the schedule, though somebody who does not know how long jobs will take
//!    may not be able to do better either.

pub mod bound;
mod cron;
mod figures;
mod fleet;
mod ledgers;
mod world;

use jiff::Timestamp;

use crate::{Decisions, Item, OfferError, Offered, Scheduler};

pub use cron::run as run_cron;
pub use figures::{Figures, Spread};
pub use fleet::Options;
pub use world::run;

/// Whoever stands beside the scheduler: to time it, or to check what it says.
pub trait Watch {
    /// Ticks.
    fn tick(&mut self, scheduler: &mut Scheduler, now: Timestamp) -> Decisions {
        scheduler.tick(now)
    }

    /// Offers.
    ///
    /// # Errors
    /// The scheduler's.
    fn offer(
        &mut self,
        scheduler: &mut Scheduler,
        item: &Item,
        now: Timestamp,
    ) -> Result<Offered, OfferError> {
        scheduler.offer(item, now)
    }
}

/// Nobody.
#[derive(Debug)]
pub struct Unwatched;

impl Watch for Unwatched {}
