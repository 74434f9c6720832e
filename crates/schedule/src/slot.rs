//! Where in its window an item's start is placed.

use crate::ledger::Ledger;
use crate::time::Minute;

/// How far from the preferred minute the least loaded one is looked for. Far enough to even out
/// what chance heaps up, near enough to stay where the hash spread the item to.
const NEAR: Minute = 10;
/// Minutes that a kept slot may make an item wait, as things are expected.
const TOLERATED: Minute = 15;
/// Minutes tried when none is free.
const SAMPLES: Minute = 48;

/// What one resource bears in a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share<'a> {
    pub ledger: &'a Ledger,
    /// Jobs at once.
    pub running: u32,
    /// Starts in a minute.
    pub starts: u32,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    /// The first minute that may be chosen.
    pub first: Minute,
    /// The last one.
    pub last: Minute,
    /// The one that is wanted most; not necessarily in between.
    pub preferred: Minute,
    /// The item started at the preferred one before.
    pub kept: bool,
    /// Minutes the job is expected to take.
    pub length: Minute,
    /// What it would share.
    pub shares: Vec<Share<'a>>,
    /// The starts of the whole fleet.
    pub fleet: &'a Ledger,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub minute: Minute,
    /// No minute of the window has room: the start will have to wait for others.
    pub crowded: bool,
}

/// Chooses a minute: the kept one while it bears it; else the least loaded near the preferred one;
/// else the nearest with room; else the least crowded of some.
pub(crate) fn decide_slot(asked: &Asked<'_>) -> Slot {
    let preferred = asked.preferred.clamp(asked.first, asked.last);
    let free = |minute| Slot {
        minute,
        crowded: false,
    };
    if asked.kept && preferred == asked.preferred && asked.may_stay(preferred) {
        return free(preferred);
    }
    let near = preferred.saturating_sub(NEAR).max(asked.first)
        ..=preferred.saturating_add(NEAR).min(asked.last);
    let fitting = near.filter(|minute| asked.fits(*minute));
    if let Some(minute) = fitting.min_by_key(|minute| asked.cost(*minute, preferred)) {
        return free(minute);
    }
    let later = asked.free_from(preferred);
    let earlier = asked.free_until(preferred);
    if let Some(minute) = later
        .into_iter()
        .chain(earlier)
        .min_by_key(|minute| minute.abs_diff(preferred))
    {
        return free(minute);
    }
    Slot {
        minute: asked.least_crowded(preferred),
        crowded: true,
    }
}

impl Asked<'_> {
    /// A kept slot is given up only when it would make the item wait long: expectations change a
    /// little every day, and the limits hold anyway when the time has come.
    fn may_stay(&self, minute: Minute) -> bool {
        let mut soon = minute..=(minute + TOLERATED).min(self.last);
        let has_room =
            |share: &Share<'_>, minute| share.ledger.peak(minute..minute + 1) < share.running;
        soon.any(|minute| self.shares.iter().all(|share| has_room(share, minute)))
    }

    fn fits(&self, minute: Minute) -> bool {
        self.obstacle(minute).is_none() && self.may_start(minute)
    }

    fn may_start(&self, minute: Minute) -> bool {
        let mut shares = self.shares.iter();
        shares.all(|share| share.ledger.starts(minute) < share.starts)
    }

    /// The last minute of a run that has no room.
    fn obstacle(&self, minute: Minute) -> Option<Minute> {
        let run = minute..minute + self.length;
        let shares = self.shares.iter();
        shares
            .filter_map(|share| share.ledger.last_with(run.clone(), share.running))
            .max()
    }

    /// How loaded a minute is: what it shares, in tenths, then the fleet's starts, then bytes, then
    /// how far it is.
    fn cost(&self, minute: Minute, preferred: Minute) -> (u64, u32, u64, u64, Minute) {
        let run = minute..minute + self.length;
        let (mut share, mut bytes) = (0, 0_u64);
        for used in &self.shares {
            let peak = u64::from(used.ledger.peak(run.clone()));
            share += peak * 10 / u64::from(used.running.max(1));
            bytes = bytes.saturating_add(used.ledger.bytes(minute));
        }
        let distance = minute.abs_diff(preferred);
        (share, self.fleet.starts(minute), bytes, distance, minute)
    }

    /// The first minute from `at` on that has room. Each obstacle is jumped over.
    fn free_from(&self, mut at: Minute) -> Option<Minute> {
        while at <= self.last {
            match self.obstacle(at) {
                Some(full) => at = full + 1,
                None if self.may_start(at) => return Some(at),
                None => at += 1,
            }
        }
        None
    }

    /// The last minute up to `at` that has room.
    fn free_until(&self, mut at: Minute) -> Option<Minute> {
        while at >= self.first {
            let run = at..at + self.length;
            let shares = self.shares.iter();
            let full = shares
                .filter_map(|share| share.ledger.first_with(run.clone(), share.running))
                .min();
            match full {
                Some(full) => at = full - self.length,
                None if self.may_start(at) => return Some(at),
                None => at -= 1,
            }
        }
        None
    }

    /// Evenly over the window, beginning with the preferred one.
    fn least_crowded(&self, preferred: Minute) -> Minute {
        let size = self.last - self.first + 1;
        let step = (size / SAMPLES).max(1);
        let tried = (0..SAMPLES.min(size)).map(|sample| {
            let at = (preferred - self.first + sample * step).rem_euclid(size);
            self.first + at
        });
        tried
            .min_by_key(|minute| self.cost(*minute, preferred))
            .unwrap_or(preferred)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Planned;

    fn ledger(jobs: &[(Minute, Minute)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (start, length) in jobs {
            ledger.add(&Planned {
                start: *start,
                length: *length,
                bytes: 1,
            });
        }
        ledger
    }

    /// One resource that bears two at once and a start a minute, a window of minutes 0 to 99, a job
    /// of ten minutes.
    fn slot(jobs: &[(Minute, Minute)], preferred: Minute, kept: bool) -> (Minute, bool) {
        let (ledger, fleet) = (ledger(jobs), Ledger::default());
        let share = Share {
            ledger: &ledger,
            running: 2,
            starts: 1,
        };
        let slot = decide_slot(&Asked {
            first: 0,
            last: 99,
            preferred,
            kept,
            length: 10,
            shares: vec![share],
            fleet: &fleet,
        });
        (slot.minute, slot.crowded)
    }

    #[test]
    fn a_minute_is_chosen_by_load_and_nearness() {
        for (what, jobs, preferred, kept, wanted) in [
            ("nothing else", &[][..], 50, false, (50, false)),
            ("before the window", &[], -7, false, (0, false)),
            ("behind it", &[], 300, true, (99, false)),
            (
                "another one starts there",
                &[(50, 10)],
                50,
                false,
                (40, false),
            ),
            ("kept beside another", &[(50, 10)], 50, true, (50, false)),
            (
                "kept, soon free",
                &[(50, 10), (50, 10)],
                50,
                true,
                (50, false),
            ),
            (
                "kept, long full",
                &[(50, 16), (50, 16)],
                50,
                true,
                (40, false),
            ),
            ("full nearby", &[(30, 40), (31, 40)], 50, false, (70, false)),
            ("full behind", &[(40, 90), (41, 90)], 60, false, (31, false)),
            (
                "full, from the start",
                &[(-5, 60), (-5, 60)],
                0,
                false,
                (55, false),
            ),
        ] {
            assert_eq!(slot(jobs, preferred, kept), wanted, "{what}");
        }
    }

    #[test]
    fn a_full_window_gives_its_least_crowded_minute() {
        let mut jobs = vec![(-10, 200); 3];
        jobs.push((-10, 70));
        let (minute, crowded) = slot(&jobs, 20, false);
        assert!(crowded && minute >= 60, "{minute}");
    }

    #[test]
    fn of_equal_minutes_the_fleet_decides() {
        let (empty, fleet) = (Ledger::default(), ledger(&[(50, 1), (50, 1), (49, 1)]));
        let asked = Asked {
            first: 0,
            last: 99,
            preferred: 50,
            kept: false,
            length: 1,
            shares: vec![Share {
                ledger: &empty,
                running: 1,
                starts: 1,
            }],
            fleet: &fleet,
        };
        assert_eq!(decide_slot(&asked).minute, 51);
    }
}
