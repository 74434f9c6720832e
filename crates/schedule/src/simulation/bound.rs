//! What a clairvoyant could not have done better.

use super::fleet::{Fleet, TRIES};
use crate::time::Second;

/// The earliest end of an item's job for a window if nothing else ran: None when every try fails.
pub(super) fn alone(fleet: &Fleet, item: usize, window: usize) -> Option<Second> {
    let mut at = fleet.policy(item).windows.get(window)?.0;
    let mut failures = 0;
    loop {
        let down = fleet.downtime;
        if (down.from..down.until).contains(&at) {
            at = down.until;
        }
        let away = fleet.outage(item, at);
        if let Some(away) = away.filter(|away| away.from <= at) {
            at = away.until;
            continue;
        }
        let fate = fleet.fate(item, window, failures);
        let ends = at + fate.takes;
        if let Some(away) = away.filter(|away| away.from < ends) {
            at = away.until;
            continue;
        }
        if !fate.fails {
            return Some(ends);
        }
        failures += 1;
        if failures >= TRIES {
            return None;
        }
        at = ends + Fleet::back_off(failures);
    }
}

/// A job that had to run: when it was late, and how long it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// The last second at which it was in time.
    pub deadline: i64,
    /// Seconds.
    pub takes: i64,
}

/// The fewest jobs that are late when all can begin at `from` and `places` run at once: Moore and
/// Hodgson's rule (Moore 1968) on one machine that is as fast as all places together, which is
/// never worse.
#[must_use]
pub fn fewest_late(jobs: &mut [Due], from: i64, places: u32) -> u64 {
    jobs.sort_unstable();
    let mut longest = std::collections::BinaryHeap::new();
    let (mut work, mut late) = (0, 0);
    for job in jobs.iter() {
        work += job.takes;
        longest.push(job.takes);
        if work > (job.deadline - from).saturating_mul(i64::from(places)) {
            work -= longest.pop().unwrap_or(0);
            late += 1;
        }
    }
    late
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_jobs_are_counted_by_the_best_schedule() {
        let due = |deadline, takes| Due { deadline, takes };
        for (jobs, places, wanted) in [
            (vec![], 1, 0),
            (vec![due(110, 10)], 1, 0),
            (vec![due(109, 10)], 1, 1),
            (vec![due(109, 10)], 2, 0),
            (vec![due(110, 10), due(110, 10), due(120, 10)], 1, 1),
            // The long one goes: both others are in time.
            (vec![due(120, 20), due(125, 10), due(130, 10)], 1, 1),
            (vec![due(90, 10), due(95, 1)], 4, 2),
        ] {
            assert_eq!(fewest_late(&mut jobs.clone(), 100, places), wanted, "{jobs:?}");
        }
    }
}
