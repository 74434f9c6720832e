//! Points of one VM with numbers for names.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use tresor_model::{PointId, SessionId, VmId};
use tresor_policy::{Decision, Point, Rules, Verdict, decide};
use uuid::Uuid;

pub(crate) const VM: u128 = 7;

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn id(number: u64) -> PointId {
    PointId::from(SessionId::from_uuid(Uuid::from_u128(u128::from(number))))
}

pub(crate) fn point(number: u64, taken_at: &str) -> Point {
    Point {
        id: id(number),
        vm: VmId::from_uuid(Uuid::from_u128(VM)),
        sequence: number,
        taken_at: at(taken_at),
        readable: true,
        pinned: false,
        immutable_until: None,
        deleted: None,
    }
}

pub(crate) fn rules(set: impl FnOnce(&mut Rules)) -> Rules {
    let mut rules = Rules::default();
    set(&mut rules);
    rules
}

/// All VMs have the same rules.
pub(crate) fn plan(points: &[Point], rules: &Rules, zone: &str, now: Timestamp) -> Vec<Decision> {
    let zone = TimeZone::get(zone).unwrap();
    let of_vms: BTreeMap<_, _> = points.iter().map(|p| (p.vm, rules.clone())).collect();
    decide(points, &of_vms, &zone, now).unwrap()
}

pub(crate) fn kept_in(points: &[Point], rules: &Rules, zone: &str, now: Timestamp) -> Vec<u64> {
    let decisions = plan(points, rules, zone, now);
    let mut kept: Vec<u64> = decisions
        .iter()
        .filter(|decision| matches!(decision.verdict, Verdict::Keep(_)))
        .map(|decision| u64::try_from(decision.point.as_uuid().as_u128()).unwrap())
        .collect();
    kept.sort_unstable();
    kept
}

pub(crate) fn kept(points: &[Point], rules: &Rules) -> Vec<u64> {
    kept_in(points, rules, "UTC", at("2026-04-01T00:00:00Z"))
}
