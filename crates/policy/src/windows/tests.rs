//! Tables of windows and gaps.

use jiff::{
    SignedDuration, Timestamp,
    tz::{self, TimeZone},
};
use proptest::prelude::*;

use super::*;
use crate::{Blackout, Policy, Schedule};

const FROM: &str = "2026-11-23T00:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Schedules and blackouts, each an expression and a length.
fn windows(schedules: &[(&str, &str)], blackouts: &[(&str, &str)]) -> Windows {
    let policy = Policy {
        schedules: schedules
            .iter()
            .map(|(calendar, window)| Schedule {
                calendar: calendar.parse().unwrap(),
                zone: None,
                window: window.parse().unwrap(),
            })
            .collect(),
        blackouts: blackouts
            .iter()
            .map(|(calendar, lasts)| Blackout {
                calendar: calendar.parse().unwrap(),
                zone: None,
                lasts: lasts.parse().unwrap(),
            })
            .collect(),
        ..Policy::nightly()
    };
    policy.windows(&TimeZone::UTC, tz::db()).unwrap()
}

/// `22:00 = 22:00-23:00 01:00-02:00`
fn shown(occasion: &Occasion) -> String {
    let clock = |at: Timestamp| at.strftime("%H:%M").to_string();
    let mut text = format!("{} =", clock(occasion.due));
    for window in &occasion.windows {
        text += &format!(" {}-{}", clock(window.opens), clock(window.closes));
    }
    text
}

fn first(windows: &Windows, count: usize) -> Vec<String> {
    let occasions = windows.after(time(FROM)).take(count);
    occasions.map(|occasion| shown(&occasion)).collect()
}

#[test]
fn blackouts_are_taken_out() {
    let night = [("22:00", "4h")];
    for (blackouts, wanted) in [
        (vec![], "22:00 = 22:00-02:00"),
        (vec![("23:00", "1h")], "22:00 = 22:00-23:00 00:00-02:00"),
        // At the edges.
        (vec![("21:00", "2h")], "22:00 = 23:00-02:00"),
        (vec![("20:00", "2h")], "22:00 = 22:00-02:00"),
        (vec![("01:00", "3h")], "22:00 = 22:00-01:00"),
        (vec![("02:00", "3h")], "22:00 = 22:00-02:00"),
        // All of it; a blackout that began days before.
        (vec![("20:00", "8h")], "22:00 ="),
        (vec![("2026-11-20", "10d")], "22:00 ="),
        (vec![("2026-11-20", "3d 23h")], "22:00 = 23:00-02:00"),
        // One after the other, and one within another.
        (
            vec![("*:00", "10m")],
            "22:00 = 22:10-23:00 23:10-00:00 00:10-01:00 01:10-02:00",
        ),
        (
            vec![("22:30", "2h"), ("23:00", "30m"), ("01:00", "15m")],
            "22:00 = 22:00-22:30 00:30-01:00 01:15-02:00",
        ),
        (vec![("*:00,30", "45m")], "22:00 ="),
    ] {
        assert_eq!(
            first(&windows(&night, &blackouts), 1),
            [wanted],
            "{blackouts:?}"
        );
    }
}

#[test]
fn what_is_due_again_is_due_once() {
    assert_eq!(
        first(&windows(&[("0/6:00", "8h")], &[]), 2),
        ["06:00 = 06:00-12:00", "12:00 = 12:00-18:00"]
    );
    // Of two schedules at one moment the longer window.
    assert_eq!(
        first(
            &windows(&[("0/8:00", "1h"), ("16:00", "3h"), ("18:00", "1h")], &[]),
            3
        ),
        [
            "08:00 = 08:00-09:00",
            "16:00 = 16:00-18:00",
            "18:00 = 18:00-19:00"
        ]
    );
}

#[test]
fn a_range_has_what_lies_in_it() {
    let windows = windows(&[("0/6:00", "2h")], &[]);
    let between = |from: &str, until: &str| -> Vec<String> {
        let day = |clock: &str| time(&format!("2026-11-23T{clock}:00Z"));
        let found = windows.between(day(from), day(until));
        found.map(|occasion| shown(&occasion)).collect()
    };
    assert_eq!(between("01:59", "06:00"), ["00:00 = 00:00-02:00"]);
    assert_eq!(between("02:00", "06:01"), ["06:00 = 06:00-08:00"]);
    assert_eq!(between("02:00", "06:00"), Vec::<String>::new());
    assert_eq!(between("00:00", "18:00").len(), 3);
}

fn rpo(schedules: &[(&str, &str)], blackouts: &[(&str, &str)]) -> Rpo {
    windows(schedules, blackouts).rpo(time(FROM))
}

#[test]
fn the_longest_gap() {
    for (schedules, blackouts, wanted) in [
        // As soon as it may, then as late as it may.
        (vec![("22:00", "4h")], vec![], "1d 4h"),
        (vec![("hourly", "30m")], vec![], "1h 30m"),
        (vec![("Mon..Fri 22:00", "1h")], vec![], "3d 1h"),
        (vec![("weekly", "1h")], vec![], "7d 1h"),
        (vec![("monthly", "1h")], vec![], "31d 1h"),
        // A day that comes every four years.
        (vec![("*-02-29", "1m")], vec![], "1461d 1m"),
        // A Friday the 13th: the longest wait for one is 14 months.
        (vec![("Fri *-*-13", "1m")], vec![], "427d 1m"),
        // A blackout at the end of a window, at its begin, over all of it.
        (vec![("22:00", "4h")], vec![("01:00", "1h")], "1d 3h"),
        (vec![("22:00", "4h")], vec![("22:00", "1h")], "1d 3h"),
        (vec![("22:00", "4h")], vec![("Sun 20:00", "10h")], "2d 4h"),
        // The clock is set forward, and back.
        (vec![("02:30 Europe/Berlin", "1m")], vec![], "1d 1h 1m"),
        (vec![("04:00 Europe/Berlin", "1m")], vec![], "1d 1h 1m"),
        (vec![("hourly Europe/Berlin", "1m")], vec![], "1h 1m"),
    ] {
        let found = rpo(&schedules, &blackouts);
        assert_eq!(found.to_string(), wanted, "{schedules:?} {blackouts:?}");
    }
}

#[test]
fn what_ends_and_what_never_begins() {
    let ends = rpo(&[("2026-12-24..26", "1h")], &[]);
    assert_eq!(
        ends.to_string(),
        "1d 1h, nothing after 2026-12-26 00:00 UTC"
    );
    let one = rpo(&[("2026-12-24", "1h")], &[]);
    assert_eq!(
        one.to_string(),
        "no two points, nothing after 2026-12-24 00:00 UTC"
    );
    let never = rpo(&[("2020-*-*", "1h")], &[]);
    assert_eq!((never.worst, never.ends, never.occasions), (None, None, 0));
    // All covered: an end is found all the same.
    let covered = rpo(&[("hourly", "30m")], &[("hourly", "30m")]);
    assert_eq!((covered.worst, covered.covered), (None, covered.occasions));
}

#[test]
fn how_long_is_looked() {
    let cycle = rpo(&[("daily", "1h")], &[]);
    assert_eq!(cycle.occasions, 10_228);
    assert!(cycle.looked_until > time("2054-11-22T00:00:00Z"));
    // A year at least, however much that is.
    let often = rpo(&[("minutely", "1m")], &[]);
    assert!(often.occasions > 366 * 24 * 60);
    assert!(often.looked_until > time("2027-11-24T00:00:00Z"));
    assert_eq!(often.to_string(), "2m");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Minute by minute: a start may be placed where a schedule's window is open, no later one is due
    /// and no blackout is on.
    #[test]
    fn windows_are_what_each_minute_says(
        schedule in prop::sample::select(vec!["*:0/20", "0/3:10", "22:00", "Mon 5..9/2:30"]),
        window in 1_u32..400,
        blackouts in prop::collection::vec(
            (prop::sample::select(vec!["*:15", "03:00", "Mon 4:00", "0/2:45", "2026-11-20"]), 1_u32..6000),
            0..4,
        ),
        start in 0_i64..10_000,
    ) {
        let window = format!("{window}m");
        let texts: Vec<_> = blackouts.iter().map(|(text, lasts)| (*text, format!("{lasts}m"))).collect();
        let texts: Vec<_> = texts.iter().map(|(text, lasts)| (*text, lasts.as_str())).collect();
        let windows = windows(&[(schedule, &window)], &texts);
        let from = time(FROM) + SignedDuration::from_mins(start);
        let until = from + SignedDuration::from_hours(48);
        let found: Vec<Occasion> = windows.between(from, until).collect();
        let on = |recurring: &Recurring, at: Timestamp| {
            let begun = recurring.timetable.next_after(at - recurring.lasts);
            begun.is_some_and(|begun| begun <= at)
        };
        let mut at = from;
        while at < until {
            let wanted = on(&windows.schedules[0], at)
                && !windows.blackouts.iter().any(|blackout| on(blackout, at));
            let holding: Vec<_> = found
                .iter()
                .filter(|occasion| {
                    occasion.windows.iter().any(|window| window.opens <= at && at < window.closes)
                })
                .collect();
            // In the window of the last one that is due, and of no other.
            prop_assert_eq!(holding.len(), usize::from(wanted), "at {}", at);
            if let Some(holding) = holding.first() {
                let next = windows.schedules[0].timetable.next_after(holding.due);
                prop_assert!(next.is_none_or(|next| at < next));
            }
            at += SignedDuration::from_mins(1);
        }
    }
}
