//! Which fault meets which moment in which run. Pure.

use super::Fault;

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Index of the moment.
    pub point: usize,
    /// What happens then.
    pub fault: Fault,
    /// A number for everything else that is random in this run.
    pub seed: u64,
}

/// Pairs every moment with every fault, in an order made from the seed. Each round of `points`
/// runs has every moment once, so that `2 * points` runs hit each twice; after as many rounds as
/// there are faults every pair has come, and the pairs begin anew in another order.
#[must_use]
pub fn schedule(points: usize, runs: usize, seed: u64) -> Vec<Turn> {
    let faults = Fault::ALL;
    let mut random = Random(seed);
    let mut turns = Vec::with_capacity(runs);
    let mut order: Vec<usize> = (0..points).collect();
    let mut shifts: Vec<usize> = (0..faults.len()).collect();
    let mut round = 0;
    while turns.len() < runs && points > 0 {
        if round % faults.len() == 0 {
            random.shuffle(&mut shifts);
        }
        random.shuffle(&mut order);
        for point in &order {
            let shifted = point + shifts[round % faults.len()];
            turns.push(Turn {
                point: *point,
                fault: faults[shifted % faults.len()],
                seed: random.next(),
            });
        }
        round += 1;
    }
    turns.truncate(runs);
    turns
}

/// `SplitMix64`: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let below = u64::try_from(last + 1).unwrap_or(u64::MAX);
            let other = usize::try_from(self.next() % below).unwrap_or(0);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn every_moment_comes_once_a_round() {
        let turns = schedule(26, 60, 7);
        let mut hits: BTreeMap<usize, u32> = BTreeMap::new();
        for turn in &turns {
            *hits.entry(turn.point).or_default() += 1;
        }
        assert_eq!(turns.len(), 60);
        assert!((0..26).all(|point| hits[&point] >= 2), "{hits:?}");
    }

    #[test]
    fn every_pair_comes_before_any_comes_again() {
        let all = 26 * Fault::ALL.len();
        let pairs = |turns: &[Turn]| -> BTreeSet<(usize, Fault)> {
            turns.iter().map(|turn| (turn.point, turn.fault)).collect()
        };
        assert_eq!(pairs(&schedule(26, all, 3)).len(), all);
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(schedule(20, 100, 1), schedule(20, 100, 1));
        assert_ne!(schedule(20, 100, 1), schedule(20, 100, 2));
        assert_eq!(schedule(20, 30, 1), schedule(20, 100, 1)[..30]);
    }
}
