//! Retention case by case.

mod support;

use support::{VM, at, kept, kept_in, plan, point, rules};
use tresor_policy::{Deletion, KeepReason, RemoveReason, Rule, Rules, Verdict};

/// Three points a day in March.
fn march() -> Vec<tresor_policy::Point> {
    let times = (1..=20).flat_map(|day| {
        ["01:00", "12:00", "23:00"].map(|hour| format!("2026-03-{day:02}T{hour}:00Z"))
    });
    (1..)
        .zip(times)
        .map(|(number, time)| point(number, &time))
        .collect()
}

#[test]
fn each_rule_keeps_the_last_point_of_its_periods() {
    let points = march();
    let cases: [(Rules, &[u64]); 7] = [
        (rules(|r| r.last = 2), &[59, 60]),
        (rules(|r| r.hourly = 3), &[58, 59, 60]),
        (rules(|r| r.daily = 3), &[54, 57, 60]),
        // Sundays 8 and 15; the last week is not over.
        (rules(|r| r.weekly = 3), &[24, 45, 60]),
        (rules(|r| r.monthly = 3), &[60]),
        (rules(|r| r.yearly = 1), &[60]),
        (
            rules(|r| r.within = Some("1d".to_owned())),
            &[57, 58, 59, 60],
        ),
    ];
    for (rules, expected) in cases {
        assert_eq!(kept(&points, &rules), expected, "{rules}");
    }
}

#[test]
fn rules_add_up_and_say_so() {
    let points = march();
    let both = rules(|r| (r.last, r.daily) = (1, 2));
    assert_eq!(kept(&points, &both), [57, 60]);
    let plan = plan(&points, &both, "UTC", at("2026-03-21T00:00:00Z"));
    let Verdict::Keep(reasons) = &plan[0].verdict else {
        panic!("{plan:?}");
    };
    let words: Vec<_> = reasons.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "the VM's newest",
            "last (1 of 1)",
            "daily (1 of 2: 2026-03-20)"
        ]
    );
    let removed = |index: usize| match &plan[index].verdict {
        Verdict::Remove(reason) => reason.clone(),
        Verdict::Keep(_) => panic!("{plan:?}"),
    };
    let superseded = RemoveReason::Superseded {
        rule: Rule::Daily,
        period: "2026-03-20".to_owned(),
        by: points[59].id,
    };
    assert_eq!(removed(1), superseded);
    assert_eq!(removed(10), RemoveReason::BehindAll);
}

#[test]
fn without_rules_everything_stays() {
    let points = march();
    assert_eq!(kept(&points, &Rules::default()).len(), 60);
}

#[test]
fn the_newest_that_can_be_read_stays() {
    let mut points = march();
    points[59].readable = false;
    points[58].readable = false;
    // The damaged ones stay as well, but count for nothing.
    assert_eq!(kept(&points, &rules(|r| r.last = 1)), [58, 59, 60]);
    let newest = plan(
        &points,
        &rules(|r| r.last = 1),
        "UTC",
        at("2026-04-01T00:00:00Z"),
    );
    let Verdict::Keep(reasons) = &newest[2].verdict else {
        panic!("{newest:?}");
    };
    assert_eq!(reasons[0], KeepReason::Newest);
}

#[test]
fn points_of_other_vms_do_not_count() {
    let mut points = march();
    let mut other = point(1, "2026-03-02T00:00:00Z");
    other.vm = tresor_model::VmId::from_uuid(uuid::Uuid::from_u128(VM + 1));
    other.id = support::id(1000);
    points.push(other);
    let kept = kept(&points, &rules(|r| r.last = 1));
    assert_eq!(kept, [60, 1000], "the only point of a VM is its newest");
}

#[test]
fn pins_and_locks_hold() {
    let mut points = march();
    points[0].pinned = true;
    points[1].immutable_until = Some(at("2026-06-01T00:00:00Z"));
    let last = rules(|r| r.last = 1);
    assert_eq!(
        kept_in(&points, &last, "UTC", at("2026-05-31T23:59:59Z")),
        [1, 2, 60]
    );
    assert_eq!(
        kept_in(&points, &last, "UTC", at("2026-06-01T00:00:00Z")),
        [1, 60]
    );
}

#[test]
fn a_deletion_has_its_grace_and_then_goes_for_good() {
    let mut points = march();
    points[59].deleted = Some(Deletion {
        at: at("2026-03-21T00:00:00Z"),
        until: at("2026-03-28T00:00:00Z"),
    });
    let last = rules(|r| r.last = 1);
    // The deleted one is not the newest any more.
    assert_eq!(
        kept_in(&points, &last, "UTC", at("2026-03-27T00:00:00Z")),
        [59, 60]
    );
    assert_eq!(
        kept_in(&points, &last, "UTC", at("2026-03-28T00:00:00Z")),
        [59]
    );
    // Without rules, too: it was deleted by name.
    assert!(
        !kept_in(
            &points,
            &Rules::default(),
            "UTC",
            at("2026-03-28T00:00:00Z")
        )
        .contains(&60)
    );
    points[59].pinned = true;
    assert!(kept_in(&points, &last, "UTC", at("2026-03-28T00:00:00Z")).contains(&60));
}

#[test]
fn days_are_those_of_the_time_zone() {
    let points = [
        point(1, "2026-03-01T22:30:00Z"),
        point(2, "2026-03-01T23:30:00Z"),
        point(3, "2026-03-02T12:00:00Z"),
    ];
    let daily = rules(|r| r.daily = 2);
    let now = at("2026-03-03T00:00:00Z");
    assert_eq!(kept_in(&points, &daily, "UTC", now), [2, 3]);
    assert_eq!(kept_in(&points, &daily, "Europe/Berlin", now), [1, 3]);
}

/// On 25 October 2026 in Berlin, 02:00 to 03:00 comes twice; on 29 March it does not come.
#[test]
fn hours_and_days_when_clocks_are_set() {
    let autumn = [
        point(1, "2026-10-25T00:15:00Z"),
        point(2, "2026-10-25T00:45:00Z"),
        point(3, "2026-10-25T01:15:00Z"),
        point(4, "2026-10-25T22:59:00Z"),
        point(5, "2026-10-25T23:00:00Z"),
    ];
    let now = at("2026-11-01T00:00:00Z");
    assert_eq!(
        kept_in(&autumn, &rules(|r| r.hourly = 9), "Europe/Berlin", now),
        [2, 3, 4, 5]
    );
    assert_eq!(
        kept_in(&autumn, &rules(|r| r.daily = 9), "Europe/Berlin", now),
        [4, 5]
    );
    let spring = [
        point(1, "2026-03-29T00:59:00Z"),
        point(2, "2026-03-29T01:00:00Z"),
    ];
    assert_eq!(
        kept_in(&spring, &rules(|r| r.hourly = 9), "Europe/Berlin", now),
        [1, 2]
    );
    // A day of the calendar, not 24 hours: this one had 25.
    let around = [
        point(1, "2026-10-24T22:30:00Z"),
        point(2, "2026-10-25T23:30:00Z"),
    ];
    let day = rules(|r| r.within = Some("1d".to_owned()));
    assert_eq!(kept_in(&around, &day, "Europe/Berlin", now), [1, 2]);
    assert_eq!(kept_in(&around, &day, "UTC", now), [2]);
}

/// A clock that was wrong for one backup costs one place, and never other points.
#[test]
fn a_clock_that_jumped() {
    let mut points = march();
    points[30].taken_at = at("2099-01-01T00:00:00Z");
    points[59].taken_at = at("1970-01-01T00:00:00Z");
    let daily = rules(|r| r.daily = 4);
    assert_eq!(kept(&points, &daily), [54, 57, 59, 60]);
    // Two points of one time: the number says which is later.
    let twins = [
        point(1, "2026-03-01T00:00:00Z"),
        point(2, "2026-03-01T00:00:00Z"),
    ];
    assert_eq!(kept(&twins, &rules(|r| r.last = 1)), [2]);
    // The newest says 2099: `within` is measured from now.
    points[59].taken_at = at("2099-01-01T00:00:00Z");
    let within = rules(|r| r.within = Some("1d".to_owned()));
    assert_eq!(
        kept_in(&points, &within, "UTC", at("2026-03-20T23:30:00Z")),
        [31, 58, 59, 60]
    );
}
