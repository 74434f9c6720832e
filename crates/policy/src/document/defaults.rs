//! What a policy has when it does not say otherwise, and the policies that are there from the start.

use tresor_model::Consistency;

use super::{Bandwidth, Concurrency, ConsistencyGoal, Policy, Retry, Schedule, TimeLimits};
use crate::{calendar::Calendar, length::Length, rules::Rules};

pub(super) const fn yes() -> bool {
    true
}

pub(super) const fn window() -> Length {
    Length::from_hours(1)
}

impl Default for ConsistencyGoal {
    fn default() -> Self {
        Self {
            wanted: Consistency::FileSystem,
            lowest: Consistency::Crash,
        }
    }
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            prepare: Length::from_minutes(10),
            snapshot: Length::from_minutes(5),
            transfer: Length::from_hours(24),
            commit: Length::from_minutes(10),
            release: Length::from_minutes(2),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            tries: 4,
            first_pause: Length::from_minutes(2),
            longest_pause: Length::from_hours(1),
        }
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self {
            host: 2,
            vault: 16,
            storage_group: 4,
        }
    }
}

impl Policy {
    /// The policies that are there from the start: `nightly` and `hourly`.
    #[must_use]
    pub fn ready_made() -> [Self; 2] {
        [Self::nightly(), Self::hourly()]
    }

    /// Once a night, from 22:00 on, placed within six hours. Kept: 7 days, 5 weeks, 12 months.
    #[must_use]
    pub fn nightly() -> Self {
        let schedule = Schedule {
            calendar: Calendar::daily_at(22),
            zone: None,
            window: Length::from_hours(6),
        };
        let retention = Rules {
            daily: 7,
            weekly: 5,
            monthly: 12,
            ..Rules::default()
        };
        Self::with("nightly", schedule, retention)
    }

    /// Once an hour, placed within half of it. Kept: 24 hours, 7 days, 5 weeks, 12 months.
    #[must_use]
    pub fn hourly() -> Self {
        let schedule = Schedule {
            calendar: Calendar::hourly(),
            zone: None,
            window: Length::from_minutes(30),
        };
        let retention = Rules {
            hourly: 24,
            daily: 7,
            weekly: 5,
            monthly: 12,
            ..Rules::default()
        };
        Self::with("hourly", schedule, retention)
    }

    fn with(name: &str, schedule: Schedule, retention: Rules) -> Self {
        Self {
            name: name.to_owned(),
            schedules: vec![schedule],
            retention,
            consistency: ConsistencyGoal::default(),
            limits: TimeLimits::default(),
            retry: Retry::default(),
            bandwidth: Bandwidth::default(),
            concurrency: Concurrency::default(),
            blackouts: Vec::new(),
            automatic_remedies: yes(),
        }
    }
}
