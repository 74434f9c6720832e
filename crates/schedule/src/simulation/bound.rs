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

/// Grain of time in [`fewest_late_of_two`]; rounded down, which is never worse.
const GRAIN: i64 = 10;

/// The fewest jobs that are late when all can begin at `from`, two run at once and none is
/// interrupted: exactly, but for the grain. `most` is enough where it cannot be fewer.
///
/// Of two places each runs its punctual jobs by deadline, so the jobs are gone through in that
/// order, each put on one place, the other, or given up; of equally many given up only the
/// combinations of work are kept that no other is below in both.
#[must_use]
pub fn fewest_late_of_two(jobs: &mut [Due], from: i64, most: usize) -> usize {
    jobs.sort_unstable();
    // By how many were given up: the work on the fuller place and on the other.
    let mut loads: Vec<Vec<(i64, i64)>> = vec![Vec::new(); most + 1];
    loads[0].push((0, 0));
    for job in jobs.iter() {
        let (takes, room) = (
            job.takes / GRAIN,
            (job.deadline - from).div_euclid(GRAIN) + 1,
        );
        let mut next: Vec<Vec<(i64, i64)>> = vec![Vec::new(); most + 1];
        for (late, loads) in loads.iter().enumerate() {
            for &(fuller, other) in loads {
                for (kept, grown) in [(other, fuller + takes), (fuller, other + takes)] {
                    if grown <= room {
                        next[late].push((kept.max(grown), kept.min(grown)));
                    }
                }
                if late < most {
                    next[late + 1].push((fuller, other));
                }
            }
        }
        next.iter_mut().for_each(keep_the_least);
        loads = next;
    }
    loads
        .iter()
        .position(|loads| !loads.is_empty())
        .unwrap_or(most)
}

/// Drops each pair that another one is not above in either.
fn keep_the_least(loads: &mut Vec<(i64, i64)>) {
    loads.sort_unstable();
    let mut least = i64::MAX;
    loads.retain(|(_, other)| {
        let keeps = *other < least;
        least = least.min(*other);
        keeps
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_places_none_is_shared() {
        let due = |deadline, takes| Due { deadline, takes };
        for (jobs, most, wanted) in [
            (vec![], 3, 0),
            (vec![due(1000, 900), due(1000, 900)], 3, 0),
            // One machine twice as fast would have room for all three.
            (vec![due(1000, 600), due(1000, 600), due(1000, 600)], 3, 1),
            (vec![due(1000, 600), due(1000, 600), due(1000, 600)], 0, 0),
            (
                vec![due(400, 300), due(700, 600), due(800, 300), due(800, 300)],
                3,
                1,
            ),
            (vec![due(50, 90), due(60, 90)], 2, 2),
        ] {
            let fewest = fewest_late_of_two(&mut jobs.clone(), 0, most);
            assert_eq!(fewest, wanted, "{jobs:?}");
        }
    }

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
            assert_eq!(
                fewest_late(&mut jobs.clone(), 100, places),
                wanted,
                "{jobs:?}"
            );
        }
    }
}
