//! Whether reading is slowing the guest down, and what to do about it. Pure.
//!
//! Additive increase and multiplicative decrease, as in congestion control: the guest's writes are
//! the signal. Their usual time is measured before anything of ours is in their way.

use std::time::Duration;

/// A guest that completes fewer writes than this between two looks tells nothing.
const FEW_WRITES: u64 = 4;
/// So many looks in a row without writes: the guest is idle, nothing holds anybody up.
const IDLE_LOOKS: u32 = 4;
/// Writes may take so many times what they usually take …
const FACTOR: u32 = 3;
/// … and this long in any case: below it nobody feels a factor.
const UNFELT: Duration = Duration::from_millis(2);
/// What writes usually take, when nothing is known.
const USUAL: Duration = Duration::from_millis(4);
/// Slowest pace, bytes per second: the backup must end, and fleecing grows as long as it runs.
const SLOWEST: u64 = 16 << 20;
/// What is added to the pace at each look at a guest that is well, bytes per second.
const STEP: u64 = 16 << 20;
/// So many looks in a row at the slowest pace and no better: then it is not the reading, and what
/// the writes take is what they usually take now.
const NOT_US: u32 = 20;

/// What was seen between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Writes that the guest completed.
    pub writes: u64,
    /// What they took, on average.
    pub mean: Duration,
    /// Bytes per second that were read.
    pub pace: u64,
}

/// What is known of the guest, and the pace that follows from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Governor {
    /// What the guest's writes usually take.
    pub usual: Option<Duration>,
    /// The longest mean between two looks.
    pub worst: Option<Duration>,
    /// Most bytes per second to read; `None`: as fast as it goes.
    pub rate: Option<u64>,
    /// The lowest rate there was.
    pub slowest: Option<u64>,
    /// Looks in a row without writes.
    idle: u32,
    /// Looks in a row at the slowest pace with slow writes.
    in_vain: u32,
}

impl Governor {
    /// For a guest whose writes usually take that long.
    #[must_use]
    pub fn new(usual: Option<Duration>) -> Self {
        Self {
            usual,
            ..Self::default()
        }
    }

    /// What a write may take before reading is slowed down.
    fn allowed(&self) -> Duration {
        (self.usual.unwrap_or(USUAL) * FACTOR).max(UNFELT)
    }
}

/// The pace after a look at the guest.
#[must_use]
pub fn decide_rate(state: &Governor, seen: Sample) -> Governor {
    let mut next = *state;
    if seen.writes < FEW_WRITES {
        next.idle += 1;
        next.rate = match state.rate {
            Some(_) if next.idle >= IDLE_LOOKS => None,
            rate => faster(rate, seen.pace),
        };
        return next;
    }
    next.idle = 0;
    next.worst = state.worst.max(Some(seen.mean));
    if seen.mean <= state.allowed() {
        next.in_vain = 0;
        next.rate = faster(state.rate, seen.pace);
        return next;
    }
    if state.rate == Some(SLOWEST) {
        next.in_vain += 1;
        if next.in_vain >= NOT_US {
            next.usual = state.usual.max(Some(seen.mean));
            next.in_vain = 0;
        }
        return next;
    }
    let pace = state.rate.map_or(seen.pace, |rate| rate.min(seen.pace));
    let rate = (pace / 2).max(SLOWEST);
    next.rate = Some(rate);
    next.slowest = Some(state.slowest.map_or(rate, |slowest| slowest.min(rate)));
    next
}

/// A little faster; without a limit once the limit is not what holds the reading back.
fn faster(rate: Option<u64>, pace: u64) -> Option<u64> {
    let more = rate?.saturating_add(STEP);
    (more / 4 <= pace.max(STEP)).then_some(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn seen(mean: u64, pace: u64) -> Sample {
        Sample {
            writes: 50,
            mean: ms(mean),
            pace: pace * MIB,
        }
    }

    const IDLE: Sample = Sample {
        writes: 0,
        mean: Duration::ZERO,
        pace: 400 * MIB,
    };

    fn after(samples: &[Sample]) -> Governor {
        let start = Governor::new(Some(ms(1)));
        samples
            .iter()
            .fold(start, |state, seen| decide_rate(&state, *seen))
    }

    #[test]
    fn a_guest_that_is_well_or_idle_limits_nothing() {
        for samples in [&[seen(1, 400), seen(3, 400)][..], &[IDLE; 10]] {
            assert_eq!(after(samples).rate, None);
        }
        // A factor of a very short time is not felt.
        let quick = Governor::new(Some(Duration::from_micros(50)));
        assert_eq!(decide_rate(&quick, seen(2, 400)).rate, None);
    }

    #[test]
    fn slow_writes_halve_the_pace_down_to_a_floor() {
        let mut state = after(&[]);
        let mut rates = Vec::new();
        for pace in [400, 200, 100, 50, 25, 16] {
            state = decide_rate(&state, seen(10, pace));
            rates.push(state.rate.expect("limited") / MIB);
        }
        assert_eq!(rates, [200, 100, 50, 25, 16, 16]);
        assert_eq!(state.worst, Some(ms(10)));
        assert_eq!(state.slowest, Some(SLOWEST));
    }

    #[test]
    fn recovery_is_step_by_step_until_nothing_is_held_back() {
        let mut state = after(&[seen(10, 400)]);
        assert_eq!(state.rate, Some(200 * MIB));
        state = decide_rate(&state, seen(1, 200));
        assert_eq!(state.rate, Some(216 * MIB));
        // Reading does not go faster than 40 MiB/s anyway: the vault is slow.
        for _ in 0..20 {
            state = decide_rate(&state, seen(1, 40));
        }
        assert_eq!(state.rate, None);
    }

    #[test]
    fn a_guest_that_falls_silent_is_idle_only_after_a_while() {
        let mut state = after(&[seen(10, 100)]);
        for _ in 0..IDLE_LOOKS - 1 {
            state = decide_rate(&state, IDLE);
            assert!(state.rate.is_some(), "it may hang in a write");
        }
        assert_eq!(decide_rate(&state, IDLE).rate, None);
    }

    #[test]
    fn what_slowing_down_does_not_mend_is_not_ours() {
        let mut state = after(&[seen(50, 30)]);
        assert_eq!(state.rate, Some(SLOWEST));
        for _ in 0..NOT_US {
            assert_eq!(state.rate, Some(SLOWEST));
            state = decide_rate(&state, seen(50, 16));
        }
        assert_eq!(state.usual, Some(ms(50)));
        state = decide_rate(&state, seen(50, 16));
        assert_eq!(state.rate, Some(SLOWEST + STEP));
    }

    #[test]
    fn an_unknown_guest_is_given_some_time() {
        let unknown = Governor::new(None);
        assert_eq!(decide_rate(&unknown, seen(11, 400)).rate, None);
        assert!(decide_rate(&unknown, seen(13, 400)).rate.is_some());
    }
}
