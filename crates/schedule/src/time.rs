//! Whole seconds and minutes since 1970, in which the scheduler counts.

use std::time::Duration;

use jiff::Timestamp;

pub(crate) type Second = i64;
pub(crate) type Minute = i64;

/// The last whole second that is not after `at`.
pub(crate) fn floor(at: Timestamp) -> Second {
    at.as_second() - Second::from(at.subsec_nanosecond() < 0)
}

/// The first whole second that is not before `at`.
pub(crate) fn ceil(at: Timestamp) -> Second {
    at.as_second() + Second::from(at.subsec_nanosecond() > 0)
}

/// Back again; what lies outside the calendar is its end.
pub(crate) fn timestamp(second: Second) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(if second < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

pub(crate) fn seconds(duration: Duration) -> Second {
    // A year is as good as for ever, and keeps every sum within range.
    Second::try_from(duration.as_secs()).map_or(YEAR, |seconds| seconds.min(YEAR))
}

pub(crate) fn duration(seconds: Second) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

const YEAR: Second = 366 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_rounded_into_the_window() {
        for (nanosecond, down, up) in [
            (5_000_000_000, 5, 5),
            (5_000_000_001, 5, 6),
            (-5_000_000_001, -6, -5),
        ] {
            let at = Timestamp::from_nanosecond(nanosecond).unwrap();
            assert_eq!((floor(at), ceil(at)), (down, up), "{at}");
        }
        assert_eq!(timestamp(i64::MAX), Timestamp::MAX);
        assert_eq!(seconds(Duration::MAX), YEAR);
    }
}
