//! What holds for all points and rules.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use support::{id, kept_in, plan, point};
use tresor_policy::{Deletion, KeepReason, Point, Rule, Rules, Verdict};

const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"];
const NOW: i64 = 1_790_000_000;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Numbers rise; times mostly do, too, but some jump anywhere, and some are equal.
fn points() -> impl Strategy<Value = Vec<Point>> {
    let one = (
        0_i64..200_000,
        prop::option::weighted(0.1, -3_000_000_000_i64..4_000_000_000),
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.1, -1_000_000_i64..1_000_000),
        prop::option::weighted(0.1, -1_000_000_i64..1_000_000),
        prop::bool::weighted(0.9),
    );
    prop::collection::vec(one, 0..60).prop_map(|rows| {
        let mut clock = NOW - 6_000_000;
        let mut points = Vec::new();
        for (number, row) in (1..).zip(rows) {
            let (step, jump, readable, pinned, immutable, deleted, counted) = row;
            clock += step;
            let mut made = point(number, "2026-01-01T00:00:00Z");
            made.taken_at = time(jump.unwrap_or(clock));
            made.sequence = if counted { number } else { 0 };
            (made.readable, made.pinned) = (readable, pinned);
            made.immutable_until = immutable.map(|after| time(NOW + after));
            made.deleted = deleted.map(|after| Deletion {
                at: time(NOW + after - 600_000),
                until: time(NOW + after),
            });
            points.push(made);
        }
        points
    })
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let within = prop::option::of(prop::sample::select(vec!["0d", "3d", "2w", "1mo", "9999y"]));
    (prop::array::uniform6(0_u32..6), within).prop_map(|(counts, within)| Rules {
        last: counts[0],
        hourly: counts[1],
        daily: counts[2],
        weekly: counts[3],
        monthly: counts[4],
        yearly: counts[5],
        within: within.map(str::to_owned),
    })
}

fn set(points: &[Point], rules: &Rules, zone: &str) -> BTreeSet<u64> {
    kept_in(points, rules, zone, time(NOW))
        .into_iter()
        .collect()
}

fn without(points: &[Point], kept: &BTreeSet<u64>) -> Vec<Point> {
    let stays = |point: &&Point| kept.iter().any(|number| id(*number) == point.id);
    points.iter().filter(stays).cloned().collect()
}

proptest! {
    /// At the same time, on what the first time left, and on what it only deleted.
    #[test]
    fn twice_is_once(points in points(), rules in any_rules(), zone in 0_usize..4) {
        let zone = ZONES[zone];
        let once = set(&points, &rules, zone);
        let left = without(&points, &once);
        prop_assert_eq!(set(&left, &rules, zone), once.clone());
        let mut soft = points;
        for point in &mut soft {
            if point.deleted.is_none() && !once.iter().any(|number| id(*number) == point.id) {
                point.deleted = Some(Deletion { at: time(NOW), until: time(NOW + 1) });
            }
        }
        let again = set(&soft, &rules, zone);
        prop_assert!(again.is_superset(&once));
    }

    #[test]
    fn a_rule_that_keeps_more_removes_no_more(
        points in points(), rules in any_rules(), more in prop::array::uniform6(0_u32..4), zone in 0_usize..4,
    ) {
        prop_assume!(!rules.is_empty());
        let larger = Rules {
            last: rules.last + more[0],
            hourly: rules.hourly + more[1],
            daily: rules.daily + more[2],
            weekly: rules.weekly + more[3],
            monthly: rules.monthly + more[4],
            yearly: rules.yearly + more[5],
            within: rules.within.clone(),
        };
        let (few, many) = (set(&points, &rules, ZONES[zone]), set(&points, &larger, ZONES[zone]));
        prop_assert!(many.is_superset(&few));
    }

    #[test]
    fn the_newest_pins_and_locks_stay_and_counts_are_bounds(
        points in points(), rules in any_rules(), zone in 0_usize..4,
    ) {
        let decisions = plan(&points, &rules, ZONES[zone], time(NOW));
        prop_assert_eq!(decisions.len(), points.len());
        let kept = set(&points, &rules, ZONES[zone]);
        let stays = |point: &Point| kept.iter().any(|number| id(*number) == point.id);
        let good = || points.iter().filter(|p| p.readable && p.deleted.is_none());
        if let Some(newest) = good().max_by_key(|p| (p.sequence, p.taken_at, p.id)) {
            prop_assert!(stays(newest));
        }
        for point in &points {
            let held = point.pinned || !point.readable
                || point.immutable_until.is_some_and(|until| until > time(NOW))
                || point.deleted.is_some_and(|deleted| deleted.until > time(NOW));
            prop_assert!(!held || stays(point));
        }
        let mut counted = 0;
        for decision in &decisions {
            if let Verdict::Keep(reasons) = &decision.verdict {
                prop_assert!(!reasons.is_empty());
                counted += usize::from(reasons.iter().any(|r| matches!(r, KeepReason::Counted { .. })));
            }
        }
        let sum: u32 = Rule::ALL.iter().map(|rule| rules.count(*rule)).sum();
        prop_assert!(counted <= sum as usize);
    }
}
