//! The fleet and its fate, made of a seed.

use std::time::Duration;

use jiff::{Timestamp, civil, tz::TimeZone};
use tresor_model::VmId;
use uuid::Uuid;

use crate::time::{Second, floor};
use crate::{Limit, Limits, Place};

/// How large a fleet, for how long.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Protected items. A host has 100 of them, a storage group 20 hosts, a vault 5000 items.
    pub items: u32,
    /// Days.
    pub days: u32,
    /// Chooses everything.
    pub seed: u64,
}

const HOUR: Second = 3600;
const DAY: Second = 24 * HOUR;
/// What a vault's places are.
pub(super) const LIMITS: Limits = Limits {
    host: limit(2, 60),
    group: limit(40, 5),
    vault: limit(100, 1),
};
/// Tries for a window.
pub(super) const TRIES: u32 = 3;

const fn limit(running: u32, gap: u64) -> Limit {
    let start_gap = Duration::from_secs(gap);
    Limit { running, start_gap }
}

/// A span in which something is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Away {
    /// From this second on.
    pub from: i64,
    /// It is back at this one.
    pub until: i64,
}

/// A policy: all its windows in the time of the simulation, and the longest gap it allows.
pub(super) struct Policy {
    pub windows: Vec<(Second, Second)>,
    pub rpo: Second,
}

pub(super) struct Member {
    pub id: VmId,
    pub policy: usize,
    pub host: u32,
    pub group: u32,
    pub vault: u32,
    /// Seconds that half of its runs take at most.
    pub median: f64,
}

/// How a try goes if its host stays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    pub takes: Second,
    pub fails: bool,
}

pub(super) struct Fleet {
    pub members: Vec<Member>,
    pub policies: Vec<Policy>,
    /// By host, in order.
    pub outages: Vec<Vec<Away>>,
    pub downtime: Away,
    pub begin: Second,
    pub end: Second,
    pub counts: [u32; 3],
    seed: u64,
}

impl Fleet {
    pub(super) fn new(options: Options) -> Self {
        let (items, days) = (options.items.max(1), i64::from(options.days.max(3)));
        let hosts = items.div_ceil(100);
        let counts = [hosts, hosts.div_ceil(20), items.div_ceil(5000)];
        // Central Europe, where clocks are set back on the last Sunday of October.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap_or(TimeZone::UTC);
        let first = civil::date(2026, 10, 25).saturating_sub(jiff::Span::new().days(days * 2 / 3));
        let at = |day: i64, hour: i64| local(&zone, first, day, hour);
        let noon = at(days / 3, 12);
        let mut fleet = Self {
            members: Vec::new(),
            policies: policies(days, at),
            outages: Vec::new(),
            downtime: Away {
                from: noon,
                until: noon + DAY,
            },
            begin: at(0, 12),
            end: at(days, 12),
            counts,
            seed: options.seed,
        };
        fleet.members = (0..items).map(|number| fleet.member(number)).collect();
        fleet.outages = (0..hosts).map(|host| fleet.outages_of(host)).collect();
        fleet
    }

    /// Of a hundred, two weekly, ten every six hours, the rest nightly.
    fn member(&self, number: u32) -> Member {
        let draw = |what| self.draw(&[u64::from(number), what]);
        let below = |what, bound: u32| u32::try_from(draw(what) % u64::from(bound)).unwrap_or(0);
        let host = below(1, self.counts[0]);
        Member {
            id: VmId::from_uuid(Uuid::from_u64_pair(draw(2), draw(3))),
            policy: match below(4, 100) {
                0..2 => 2,
                2..12 => 1,
                _ => 0,
            },
            host,
            group: host / 20,
            vault: below(5, self.counts[2]),
            median: 180.0 * (0.9 * self.normal(&[u64::from(number), 6])).exp(),
        }
    }

    /// Once in forty days, for one to six hours.
    fn outages_of(&self, host: u32) -> Vec<Away> {
        let days = (self.end - self.begin).div_euclid(DAY);
        let mut outages: Vec<Away> = Vec::new();
        for day in 0..days {
            let draw =
                |what| self.draw(&[u64::from(host), u64::try_from(day).unwrap_or(0), what, 77]);
            if draw(1) % 40 != 0 {
                continue;
            }
            let from = self.begin + day * DAY + second_below(draw(2), DAY);
            let until = from + HOUR + second_below(draw(3), 5 * HOUR);
            if outages.last().is_none_or(|last| last.until < from) {
                outages.push(Away { from, until });
            }
        }
        outages
    }

    /// How the so-manieth try fares whose fate is not decided by its host, for a window.
    pub(super) fn fate(&self, item: usize, window: usize, failures: u32) -> Fate {
        let key = [item as u64, window as u64, u64::from(failures), 99];
        let takes = self.members[item].median * (0.35 * self.normal(&key)).exp();
        let draw = self.draw(&[key[0], key[1], key[2], 100]);
        let fails = draw.is_multiple_of(100);
        // What fails does so halfway.
        let takes = if fails { takes / 2.0 } else { takes };
        #[expect(clippy::cast_possible_truncation, reason = "clamped to six hours")]
        let takes = takes.clamp(20.0, 21_600.0) as Second;
        Fate { takes, fails }
    }

    /// When a failed try may be repeated.
    pub(super) fn back_off(failures: u32) -> Second {
        300 << failures.saturating_sub(1).min(4)
    }

    pub(super) fn place(&self, item: usize) -> Place {
        let member = &self.members[item];
        Place {
            host: format!("host{:04}", member.host),
            vault: format!("vault{:02}", member.vault),
            group: Some(format!("group{:02}", member.group)),
        }
    }

    /// The resources of an item by kind, as numbers below [`Fleet::counts`].
    pub(super) fn uses(&self, item: usize) -> [usize; 3] {
        let member = &self.members[item];
        [member.host, member.group, member.vault].map(|number| number as usize)
    }

    pub(super) fn policy(&self, item: usize) -> &Policy {
        &self.policies[self.members[item].policy]
    }

    /// The number of the first window of an item's policy that opens after a moment.
    pub(super) fn window_after(&self, item: usize, at: Second) -> usize {
        let windows = &self.policy(item).windows;
        windows.partition_point(|(opens, _)| *opens <= at)
    }

    /// When the host of an item is away next, from a moment on, or at it.
    pub(super) fn outage(&self, item: usize, at: Second) -> Option<Away> {
        let outages = &self.outages[self.members[item].host as usize];
        let next = outages.partition_point(|away| away.until <= at);
        outages.get(next).copied()
    }

    /// Seconds of a span in which the service or the item's host was away.
    pub(super) fn away(&self, item: usize, from: Second, until: Second) -> Second {
        let outages = &self.outages[self.members[item].host as usize];
        let all = outages.iter().chain([&self.downtime]);
        let seconds = all.map(|away| away.until.min(until) - away.from.max(from));
        seconds.filter(|seconds| *seconds > 0).sum()
    }

    fn draw(&self, key: &[u64]) -> u64 {
        key.iter().fold(crate::hash::mix(self.seed), |state, part| {
            crate::hash::mix(state ^ part.wrapping_mul(0xD6E8_FEB8_6659_FD93))
        })
    }

    /// Box and Muller's.
    fn normal(&self, key: &[u64]) -> f64 {
        let (one, two) = (self.draw(key), crate::hash::mix(self.draw(key)));
        let unit = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        (-2.0 * unit(one).ln()).sqrt() * (std::f64::consts::TAU * unit(two)).cos()
    }
}

fn second_below(draw: u64, bound: Second) -> Second {
    crate::hash::below(draw, bound)
}

/// An hour of a day by local clocks.
fn local(zone: &TimeZone, first: civil::Date, day: i64, hour: i64) -> Second {
    let date = first.saturating_add(jiff::Span::new().days(day));
    let at = date
        .at(0, 0, 0, 0)
        .saturating_add(jiff::Span::new().hours(hour));
    let at = zone.to_ambiguous_timestamp(at).compatible();
    floor(at.unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Nightly, every six hours, weekly. The longest gap: from the opening of one window to the end of
/// the next, with an hour for the clocks and some for the run.
fn policies(days: i64, at: impl Fn(i64, i64) -> Second) -> Vec<Policy> {
    let days = -1..days + 9;
    let nightly = days.clone().map(|day| (at(day, 22), at(day + 1, 6)));
    let hours = days
        .clone()
        .flat_map(|day| [0, 6, 12, 18].map(|hour| (day, hour)));
    let often = hours.map(|(day, hour)| (at(day, hour), at(day, hour + 2)));
    let weekly = days.filter(|day| day.rem_euclid(7) == 2);
    let weekly = weekly.map(|day| (at(day, 0), at(day + 2, 0)));
    vec![
        Policy {
            windows: nightly.collect(),
            rpo: DAY + 8 * HOUR + 3 * HOUR,
        },
        Policy {
            windows: often.collect(),
            rpo: 6 * HOUR + 2 * HOUR + 2 * HOUR,
        },
        Policy {
            windows: weekly.collect(),
            rpo: 7 * DAY + 48 * HOUR + 3 * HOUR,
        },
    ]
}
