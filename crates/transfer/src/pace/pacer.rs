//! Lets reads through at a pace.

use std::{
    num::NonZeroU64,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What was let through, and what that cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes that were let through.
    pub bytes: u64,
    /// How long reads were held back, overlapping waits counted once.
    pub time: Duration,
}

/// Stands in front of all reads of a backup.
#[derive(Debug)]
pub struct Pacer {
    /// Bytes per second that are asked for at most.
    limit: Option<NonZeroU64>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes per second for the guest's sake.
    rate: Option<u64>,
    /// When all that was let through is paid for.
    paid_at: Instant,
    /// Up to when held-back time was counted.
    held_until: Instant,
    held: Held,
}

impl Pacer {
    /// A pacer that never lets more than `limit` bytes per second through.
    #[must_use]
    pub fn new(limit: Option<NonZeroU64>) -> Self {
        let now = Instant::now();
        let state = State {
            rate: None,
            paid_at: now,
            held_until: now,
            held: Held::default(),
        };
        Self {
            limit,
            state: Mutex::new(state),
        }
    }

    /// Waits for the turn of a read of `bytes`. Turns are given in the order of the calls.
    pub async fn turn(&self, bytes: u64) {
        let turn = self.book(Instant::now(), bytes);
        tokio::time::sleep_until(turn).await;
    }

    /// Changes the pace for the guest's sake; what waits already keeps its turn.
    pub fn set_rate(&self, rate: Option<u64>) {
        self.state().rate = rate;
    }

    /// What was let through so far.
    #[must_use]
    pub fn held(&self) -> Held {
        self.state().held
    }

    /// The state is whole at every unlock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self, now: Instant, bytes: u64) -> Instant {
        let mut state = self.state();
        state.held.bytes += bytes;
        let turn = state.paid_at.max(now);
        let limit = self.limit.map(NonZeroU64::get);
        let rate = [limit, state.rate].into_iter().flatten().min();
        state.paid_at = turn + rate.map_or(Duration::ZERO, |rate| price(bytes, rate));
        let counted = state.held_until.max(now);
        state.held.time += turn.saturating_duration_since(counted);
        state.held_until = state.held_until.max(turn);
        turn
    }
}

/// How long `bytes` take at a rate; an hour at most.
fn price(bytes: u64, rate: u64) -> Duration {
    const LONGEST: Duration = Duration::from_secs(3600);
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    u64::try_from(nanos).map_or(LONGEST, |nanos| Duration::from_nanos(nanos).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn seconds(from: Instant, turns: &[Instant]) -> Vec<u64> {
        turns
            .iter()
            .map(|turn| turn.duration_since(from).as_secs())
            .collect()
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let pacer = Pacer::new(None);
        let now = Instant::now() + Duration::from_secs(1);
        let turns = [1, 2, 3].map(|_| pacer.book(now, 1 << 40));
        assert_eq!(seconds(now, &turns), [0, 0, 0]);
        let held = pacer.held();
        assert_eq!((held.bytes, held.time), (3 << 40, Duration::ZERO));
    }

    #[test]
    fn the_lower_of_both_limits_holds_and_waits_are_counted_once() {
        let pacer = Pacer::new(NonZeroU64::new(2 * MIB));
        let now = Instant::now() + Duration::from_secs(1);
        let turns = [1, 2, 3].map(|_| pacer.book(now, 2 * MIB));
        assert_eq!(seconds(now, &turns), [0, 1, 2]);
        assert_eq!(pacer.held().time, Duration::from_secs(2));
        pacer.set_rate(Some(MIB));
        let turns = [1, 2].map(|_| pacer.book(now, 2 * MIB));
        assert_eq!(seconds(now, &turns), [3, 5]);
        pacer.set_rate(Some(100 * MIB));
        let later = now + Duration::from_secs(60);
        let turns = [1, 2].map(|_| pacer.book(later, 2 * MIB));
        assert_eq!(seconds(later, &turns), [0, 1], "a pause is not saved up");
        assert_eq!(pacer.held().time, Duration::from_secs(6));
    }

    #[test]
    fn a_rate_of_nothing_still_moves() {
        assert_eq!(price(1 << 40, 0), Duration::from_secs(3600));
    }
}
