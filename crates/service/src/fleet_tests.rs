//! What happens goes in, what is to be done comes out.

use jiff::{SignedDuration, tz::TimeZone};
use tresor_catalog::{ItemRecord, ItemState, Memory, PolicyRecord, RunEnd};
use tresor_model::{JobId, VmId};
use tresor_policy::Policy;
use tresor_schedule::Limits;

use super::*;
use crate::ended::Made;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn nightly(revision: u64) -> PolicyRecord {
    PolicyRecord {
        policy: Policy::nightly(),
        revision,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

fn item(since: &str, memory: Memory) -> ItemRecord {
    ItemRecord {
        vm: VmId::generate(),
        vm_name: "web01".to_owned(),
        host: None,
        vault: "main".to_owned(),
        policy: "nightly".to_owned(),
        state: ItemState::Protected,
        since: at(since),
        gone_since: None,
        memory,
    }
}

fn fleet() -> Fleet {
    Fleet::new(Limits::default(), TimeZone::UTC)
}

/// Ticks as asked for, until something starts.
fn first_start(fleet: &mut Fleet, from: Timestamp, until: Timestamp) -> Option<(Start, Timestamp)> {
    let mut now = from;
    while now < until {
        let (effects, wake) = fleet.tick(now);
        let start = effects.into_iter().find_map(|effect| match effect {
            Effect::Start(start) => Some(*start),
            _ => None,
        });
        if let Some(start) = start {
            return Some((start, now));
        }
        let second = now.saturating_add(SignedDuration::from_secs(1)).unwrap();
        now = wake.unwrap_or(until).max(second);
    }
    None
}

fn made(taken_at: Timestamp) -> End {
    End::Point(Made {
        taken_at,
        took: std::time::Duration::from_secs(90),
        stored: 1 << 20,
    })
}

fn failed(retry_at: Option<Timestamp>) -> End {
    let cause = Problem::from(Kind::Internal {
        what: "x".to_owned(),
    });
    End::Failed { cause, retry_at }
}

/// Starts what is due and says so, as the loop does.
fn run_one(fleet: &mut Fleet, from: Timestamp, until: Timestamp) -> (Start, Timestamp, JobId) {
    let (start, now) = first_start(fleet, from, until).expect("something starts");
    let job = JobId::generate();
    fleet.started(start.item.vm, job, start.window, start.attempt, now);
    (start, now, job)
}

#[test]
fn a_new_item_is_placed_once_and_starts_there_each_night() {
    let mut fleet = fleet();
    let item = item("2026-03-02T12:00:00Z", Memory::default());
    let now = item.since;
    let effects = fleet.update(vec![nightly(1)], vec![item.clone()], now);
    let [Effect::Place { slot_s, .. }] = effects[..] else {
        panic!("{effects:?}")
    };
    assert!(
        fleet
            .update(vec![nightly(1)], vec![item.clone()], now)
            .is_empty()
    );
    let (start, first, _) = run_one(&mut fleet, now, at("2026-03-03T12:00:00Z"));
    let offset = first.duration_since(start.window).as_secs();
    assert_eq!(u64::try_from(offset).unwrap(), slot_s);
    assert_eq!((start.attempt, start.why), (1, StartReason::Window));
    let end = first.saturating_add(SignedDuration::from_mins(5)).unwrap();
    let effects = fleet.ended(item.vm, &made(first), end);
    let served = matches!(
        effects[..],
        [Effect::Ended {
            end: RunEnd::Succeeded { expected_s: 90, .. },
            ..
        }]
    );
    assert!(served, "{effects:?}");
    let (_, second, _) = run_one(&mut fleet, end, at("2026-03-04T12:00:00Z"));
    assert_eq!(second.duration_since(first), SignedDuration::from_hours(24));
}

#[test]
fn a_failure_is_tried_again_for_the_same_window_and_counted() {
    let mut fleet = fleet();
    let item = item("2026-03-02T12:00:00Z", Memory::default());
    fleet.update(vec![nightly(1)], vec![item.clone()], item.since);
    let until = at("2026-03-03T12:00:00Z");
    let (first, now, _) = run_one(&mut fleet, item.since, until);
    let retry_at = now.saturating_add(SignedDuration::from_mins(2)).unwrap();
    let effects = fleet.ended(item.vm, &failed(Some(retry_at)), now);
    assert_eq!(
        effects,
        [Effect::Ended {
            vm: item.vm,
            end: RunEnd::Retries {
                not_before: retry_at
            }
        }]
    );
    let (again, then, _) = run_one(&mut fleet, now, until);
    assert!(then >= retry_at, "{then} is before {retry_at}");
    assert_eq!(
        (again.attempt, again.window, again.why),
        (2, first.window, StartReason::Retry)
    );
    // Given up: the next night.
    fleet.ended(item.vm, &failed(None), then);
    let (next, _, _) = run_one(&mut fleet, then, at("2026-03-04T12:00:00Z"));
    assert_eq!(next.attempt, 1);
    assert_eq!(
        next.window.duration_since(first.window),
        SignedDuration::from_hours(24)
    );
}

/// Due each minute.
fn minutely() -> PolicyRecord {
    let document = r#"{"name":"nightly","schedules":[{"calendar":"*:*","window":"1m"}]}"#;
    PolicyRecord {
        policy: serde_json::from_str(document).unwrap(),
        ..nightly(1)
    }
}

#[test]
fn a_retry_that_comes_too_late_for_its_window_leaves_it_to_the_next_one() {
    let mut fleet = fleet();
    let item = item("2026-03-02T12:00:00Z", Memory::default());
    let noon = item.since;
    fleet.update(vec![minutely()], vec![item.clone()], noon);
    let (first, now, _) = run_one(&mut fleet, noon, at("2026-03-02T12:05:00Z"));
    let late = first.window.saturating_add(SignedDuration::from_secs(63));
    let effects = fleet.ended(item.vm, &failed(Some(late.unwrap())), now);
    assert!(matches!(effects[..], [Effect::Ended { .. }]), "{effects:?}");
    let closed = first.window.saturating_add(SignedDuration::from_secs(61));
    let closed = closed.unwrap();
    let (effects, _) = fleet.tick(closed);
    let given_up = Effect::Ended {
        vm: item.vm,
        end: RunEnd::GivenUp,
    };
    assert!(effects.contains(&given_up), "{effects:?}");
    let (next, _, _) = run_one(&mut fleet, closed, at("2026-03-02T12:05:00Z"));
    assert!(next.window > first.window);
    assert_eq!((next.attempt, next.why), (1, StartReason::Window));
}

#[test]
fn a_point_that_is_of_the_next_window_serves_that_and_not_all_to_come() {
    let mut fleet = fleet();
    let item = item("2026-03-02T12:00:00Z", Memory::default());
    let until = at("2026-03-02T12:08:00Z");
    fleet.update(vec![minutely()], vec![item.clone()], item.since);
    let (first, now, _) = run_one(&mut fleet, item.since, until);
    let minute = SignedDuration::from_mins(1);
    let next = first.window.saturating_add(minute).unwrap();
    fleet.ended(item.vm, &made(next), next);
    let (second, _, _) = run_one(&mut fleet, now, until);
    assert_eq!(second.window, next.saturating_add(minute).unwrap());
}

#[test]
fn after_a_restart_a_window_that_is_being_served_is_tried_again_not_begun_anew() {
    let opens = at("2026-03-02T22:00:00Z");
    let not_before = at("2026-03-03T02:00:00Z");
    let item = item(
        "2026-03-01T12:00:00Z",
        Memory {
            slot_s: Some(3600),
            last_started_at: Some(at("2026-03-02T23:00:00Z")),
            attempt: 2,
            not_before: Some(not_before),
            open_window: Some(opens),
            ..Memory::default()
        },
    );
    let mut fleet = fleet();
    let now = at("2026-03-03T01:00:00Z");
    fleet.update(vec![nightly(1)], vec![item], now);
    let (start, then, _) = run_one(&mut fleet, now, at("2026-03-03T12:00:00Z"));
    assert_eq!((start.window, start.attempt), (opens, 3));
    assert!(then >= not_before);
}

#[test]
fn after_days_of_downtime_it_is_caught_up_once() {
    let point = at("2026-03-02T23:00:00Z");
    let item = item(
        "2026-03-01T12:00:00Z",
        Memory {
            slot_s: Some(3600),
            last_started_at: Some(point),
            last_point_at: Some(point),
            ..Memory::default()
        },
    );
    let mut fleet = fleet();
    let now = at("2026-03-07T09:00:00Z");
    fleet.update(vec![nightly(1)], vec![item.clone()], now);
    let noon = at("2026-03-07T12:00:00Z");
    let (start, then, _) = run_one(&mut fleet, now, noon);
    assert_eq!(start.why, StartReason::CatchUp);
    fleet.ended(item.vm, &made(then), then);
    assert_eq!(first_start(&mut fleet, then, noon), None);
    let (next, _, _) = run_one(&mut fleet, noon, at("2026-03-08T12:00:00Z"));
    assert_eq!(next.window, at("2026-03-07T22:00:00Z"));
}

#[test]
fn a_job_that_runs_already_is_counted_and_not_started_again() {
    let started = at("2026-03-02T23:00:00Z");
    let item = item(
        "2026-03-01T12:00:00Z",
        Memory {
            last_started_at: Some(started),
            open_window: Some(at("2026-03-02T22:00:00Z")),
            attempt: 1,
            ..Memory::default()
        },
    );
    let mut fleet = fleet();
    let now = at("2026-03-02T23:10:00Z");
    fleet.update(vec![nightly(1)], vec![item.clone()], now);
    let job = JobId::generate();
    fleet.adopt(item.vm, job, started, now);
    assert_eq!(fleet.jobs().collect::<Vec<_>>(), [(item.vm, job)]);
    assert_eq!(
        first_start(&mut fleet, now, at("2026-03-03T03:00:00Z")),
        None
    );
    let end = at("2026-03-03T03:00:00Z");
    fleet.ended(item.vm, &made(started), end);
    let (next, _, _) = run_one(&mut fleet, end, at("2026-03-04T12:00:00Z"));
    assert_eq!(next.window, at("2026-03-03T22:00:00Z"));
}

#[test]
fn what_is_stopped_or_removed_does_not_start() {
    let mut fleet = fleet();
    let item = item("2026-03-02T12:00:00Z", Memory::default());
    fleet.update(vec![nightly(1)], vec![item.clone()], item.since);
    fleet.update(vec![nightly(1)], Vec::new(), item.since);
    assert_eq!(
        first_start(&mut fleet, item.since, at("2026-03-05T12:00:00Z")),
        None
    );
}

#[test]
fn a_changed_policy_counts_from_its_next_window_on() {
    let mut fleet = fleet();
    let item = item("2026-03-02T12:00:00Z", Memory::default());
    fleet.update(vec![nightly(1)], vec![item.clone()], item.since);
    let mut changed = nightly(2);
    changed.policy.schedules[0].calendar = "14:00".parse().unwrap();
    fleet.update(vec![changed], vec![item.clone()], item.since);
    let (start, _, _) = run_one(&mut fleet, item.since, at("2026-03-03T12:00:00Z"));
    assert_eq!(start.window, at("2026-03-02T14:00:00Z"));
}
