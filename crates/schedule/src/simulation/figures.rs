//! What is counted.

use std::collections::BTreeMap;

/// How something is spread.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    /// How many values there are.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Half of them are not above.
    pub median: i64,
    /// 99 of a hundred are not above.
    pub p99: i64,
    /// None is above.
    pub most: i64,
}

impl Spread {
    /// Of values in any order.
    #[must_use]
    pub fn of(mut values: Vec<i64>) -> Self {
        values.sort_unstable();
        let rank = |of_hundred: usize| {
            let rank = (values.len() * of_hundred).div_ceil(100);
            values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        let sum: i64 = values.iter().sum();
        Self {
            count: values.len(),
            mean: sum as f64 / values.len().max(1) as f64,
            median: rank(50),
            p99: rank(99),
            most: values.last().copied().unwrap_or(0),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Jobs that started.
    pub starts: u64,
    /// Of them, second and third tries.
    pub retries: u64,
    /// Of them, outside their window, which had closed.
    pub caught_up: u64,
    /// Jobs that failed or were cut off by their host.
    pub failed: u64,
    /// Windows without a start, by reason.
    pub missed: BTreeMap<&'static str, u64>,
    /// Starts a minute, in the nights without anything left from the downtime.
    pub nightly_starts: Spread,
    /// Starts in the busiest minute of all.
    pub busiest_minute: i64,
    /// The most that ran at once: all, a host, a storage group, a vault.
    pub peak: [u32; 4],
    /// The most that started in one second: on a host, a storage group, a vault.
    pub together: [u32; 3],
    /// Seconds from due to start of jobs that started in their window.
    pub waits: Spread,
    /// Seconds from due to start of those that were caught up, without the time in which the service
    /// was away.
    pub catch_up_waits: Spread,
    /// Items that waited more than a day while service and host were there.
    pub starved: u64,
    /// Items that missed more than one window for one downtime and were caught up more than once.
    pub caught_up_twice: u64,
    /// Minutes that the starts of nightly items moved from one day to the next.
    pub moves: Spread,
    /// Slots that moved at all from one window to the next, of a million.
    pub slots_moved: u64,
    /// Recovery points that came after their deadline.
    pub late: u64,
    /// Of them, those that could not have been met alone.
    pub late_even_alone: u64,
    /// Of the rest, those that somebody had to be.
    pub late_by_count: u64,
    /// What is left and could have been met: where the service was away between the window's opening
    /// and the deadline, where the host was, and where nothing was.
    pub could_be_met: [u64; 3],
}
