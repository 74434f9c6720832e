//! Windows that are missed, what becomes of them, and tries again.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use support::{HOUR, at, id, item, limit, limits, missed, starts, window};
use tresor_schedule::{
    AfterClose, Finished, Item, Limits, Offered, Outcome, Scheduler, StartReason, Window,
};

fn one_place() -> Limits {
    limits(limit(1, 0), limit(100, 0), limit(100, 0))
}

/// From 0 to an hour, then the same a day later.
fn nightly(deadline: i64) -> Window {
    Window {
        deadline: Some(at(deadline)),
        next_opens: Some(at(24 * HOUR)),
        ..window(0, HOUR)
    }
}

const NEXT_IN_TIME: i64 = 26 * HOUR;
const NEXT_TOO_LATE: i64 = 24 * HOUR;

fn offer(scheduler: &mut Scheduler, item: &Item, now: i64) -> Offered {
    scheduler.offer(item, at(now)).unwrap()
}

#[test]
fn a_missed_window_says_why_and_what_now() {
    let no_room = "no room until the window closed: waits for host a, 1 of 1 run";
    for (what, deadline, wanted) in [
        (
            "full",
            NEXT_IN_TIME,
            format!("{no_room}; starts in the next window"),
        ),
        (
            "full",
            NEXT_TOO_LATE,
            format!("{no_room}; is caught up as soon as there is room"),
        ),
        (
            "not asked",
            NEXT_IN_TIME,
            "the service did not run when it was due; starts in the next window".to_owned(),
        ),
        (
            "held back",
            NEXT_TOO_LATE,
            "it was held back until 2026-01-01T02:00:00Z; is caught up as soon as there is room"
                .to_owned(),
        ),
        (
            "still running",
            NEXT_TOO_LATE,
            "its last job still runs, since 2025-12-31T22:00:00Z; starts in the next window"
                .to_owned(),
        ),
    ] {
        let mut scheduler = Scheduler::new(one_place());
        let mut one = item(1, "a", nightly(deadline));
        match what {
            "full" => scheduler
                .adopt(&item(2, "a", window(-9000, 0)), at(-7200))
                .unwrap(),
            "still running" => scheduler
                .adopt(&item(1, "a", window(-9000, 0)), at(-7200))
                .unwrap(),
            "held back" => one.not_before = Some(at(2 * HOUR)),
            _ => {}
        }
        offer(&mut scheduler, &one, -60);
        if what != "not asked" {
            assert_eq!(starts(&mut scheduler, 0), [], "{what}");
            assert_eq!(missed(&scheduler.tick(at(HOUR))), [""; 0], "{what}");
        }
        let decisions = scheduler.tick(at(HOUR + 1));
        assert_eq!(missed(&decisions), [wanted], "{what}");
        assert_eq!(missed(&scheduler.tick(at(HOUR + 2))), [""; 0], "told once");
    }
}

#[test]
fn after_a_downtime_each_item_is_caught_up_once() {
    let mut scheduler = Scheduler::new(one_place());
    // The first window after the last point is four days old; three others have passed since.
    for number in 1..=3 {
        let mut late = item(number, "a", nightly(0));
        late.window.next_opens = Some(at(120 * HOUR));
        assert_eq!(offer(&mut scheduler, &late, 100 * HOUR), Offered::Closed);
    }
    let mut now = 100 * HOUR;
    let mut caught_up = Vec::new();
    for _ in 0..3 {
        let decisions = scheduler.tick(at(now));
        assert_eq!(decisions.starts.len(), 1, "one after another");
        let start = decisions.starts[0];
        assert_eq!(start.why, StartReason::CatchUp);
        caught_up.push(start.item);
        now += 600;
        assert_eq!(
            scheduler.finish(start.item, Outcome::Succeeded, at(now)),
            Finished::Done
        );
        // The windows that it slept through are served as well.
        for day in 1..=4 {
            let between = item(1, "a", window(day * 24 * HOUR, day * 24 * HOUR + HOUR));
            if start.item == id(1) {
                assert_eq!(offer(&mut scheduler, &between, now), Offered::Served);
            }
        }
    }
    caught_up.sort_unstable();
    assert_eq!(caught_up, [id(1), id(2), id(3)]);
    assert_eq!(starts(&mut scheduler, now), []);
}

#[test]
fn what_is_caught_up_goes_by_age() {
    let mut scheduler = Scheduler::new(one_place());
    for (number, opened) in [(1, 30), (2, 10), (3, 20)] {
        let late = item(number, "a", window(opened * HOUR, (opened + 1) * HOUR));
        offer(&mut scheduler, &late, 100 * HOUR);
    }
    for (now, wanted) in [(100 * HOUR, 2), (101 * HOUR, 3), (102 * HOUR, 1)] {
        assert_eq!(starts(&mut scheduler, now), [id(wanted)]);
        scheduler.finish(id(wanted), Outcome::Succeeded, at(now + 60));
    }
}

/// After a downtime there is room for one before both are late. The one whose time has run out
/// goes second, and it goes.
#[test]
fn what_can_still_be_in_time_goes_before_what_cannot() {
    let mut scheduler = Scheduler::new(one_place());
    let late = |number, deadline| {
        let mut late = item(number, "a", nightly(deadline));
        late.window.next_opens = Some(at(240 * HOUR));
        late
    };
    offer(&mut scheduler, &late(1, 90 * HOUR), 100 * HOUR);
    offer(&mut scheduler, &late(2, 101 * HOUR), 100 * HOUR);
    assert_eq!(starts(&mut scheduler, 100 * HOUR), [id(2)]);
    scheduler.finish(id(2), Outcome::Succeeded, at(100 * HOUR + 600));
    assert_eq!(starts(&mut scheduler, 100 * HOUR + 600), [id(1)]);
}

/// But it is not put off for ever by ever new ones that could be in time.
#[test]
fn what_cannot_be_in_time_any_more_is_not_starved() {
    let mut scheduler = Scheduler::new(one_place());
    let late = |number, deadline| {
        let mut late = item(number, "a", nightly(deadline));
        late.window.next_opens = Some(at(2400 * HOUR));
        late
    };
    offer(&mut scheduler, &late(0, 90 * HOUR), 100 * HOUR);
    for number in 1..200 {
        let now = 100 * HOUR + i64::from(number) * 600;
        offer(&mut scheduler, &late(number, now + HOUR), now);
        let started = starts(&mut scheduler, now);
        if started == [id(0)] {
            assert!(number > 6, "{number}");
            return;
        }
        scheduler.finish(started[0], Outcome::Succeeded, at(now + 599));
    }
    panic!("it waits for ever");
}

#[test]
fn a_back_off_holds_in_the_window_and_past_it_if_the_deadline_wants_that() {
    for (what, retry_at, deadline, wanted) in [
        ("in the window", 1800, NEXT_IN_TIME, Some(1800)),
        (
            "past it, the next one is in time",
            2 * HOUR,
            NEXT_IN_TIME,
            None,
        ),
        (
            "past it, the next one is too late",
            2 * HOUR,
            NEXT_TOO_LATE,
            Some(2 * HOUR),
        ),
        (
            "until after the next one has opened",
            25 * HOUR,
            NEXT_TOO_LATE,
            None,
        ),
    ] {
        let mut scheduler = Scheduler::new(one_place());
        offer(&mut scheduler, &item(1, "a", nightly(deadline)), -60);
        assert_eq!(starts(&mut scheduler, 0), [id(1)]);
        let failed = Outcome::Failed {
            retry_at: Some(at(retry_at)),
        };
        assert_eq!(scheduler.finish(id(1), failed, at(600)), Finished::Retries);
        let mut started = None;
        let mut next = Some(at(600));
        while let Some(now) = next.take().filter(|now| *now <= at(26 * HOUR)) {
            let decisions = scheduler.tick(now);
            for start in &decisions.starts {
                assert_eq!(start.why, StartReason::Retry, "{what}");
                assert_eq!(started.replace(support::second(now)), None, "{what}");
            }
            for missed in &decisions.missed {
                let waits = missed.then == AfterClose::NextWindow;
                assert_eq!(waits, wanted.is_none(), "{what}");
            }
            next = decisions.wake_at;
        }
        assert_eq!(started, wanted, "{what}");
    }
}

#[test]
fn a_failure_without_another_try_leaves_the_window() {
    let mut scheduler = Scheduler::new(one_place());
    offer(&mut scheduler, &item(1, "a", nightly(NEXT_TOO_LATE)), -60);
    assert_eq!(starts(&mut scheduler, 0), [id(1)]);
    let failed = Outcome::Failed { retry_at: None };
    assert_eq!(scheduler.finish(id(1), failed, at(600)), Finished::Done);
    assert_eq!(starts(&mut scheduler, 700), []);
    assert_eq!(scheduler.why(id(1)), None);
}

/// While the job ran the next window was offered; it failed, and is tried again before that opens,
/// or in it when it is open.
#[test]
fn a_newer_window_takes_the_try_over_only_when_it_is_open() {
    for (opens, why) in [(2 * HOUR, StartReason::Retry), (900, StartReason::Window)] {
        let mut scheduler = Scheduler::new(one_place());
        offer(&mut scheduler, &item(1, "a", window(0, HOUR)), -60);
        assert_eq!(starts(&mut scheduler, 0), [id(1)]);
        offer(
            &mut scheduler,
            &item(1, "a", window(opens, opens + HOUR)),
            60,
        );
        let retry_at = Some(at(1000));
        scheduler.finish(id(1), Outcome::Failed { retry_at }, at(700));
        assert_eq!(starts(&mut scheduler, 999), []);
        let decisions = scheduler.tick(at(1000));
        assert_eq!(decisions.starts[0].why, why);
    }
}

#[test]
fn an_offer_does_not_disturb_what_is_caught_up() {
    let mut scheduler = Scheduler::new(one_place());
    scheduler.adopt(&item(2, "a", window(0, 1)), at(0)).unwrap();
    offer(
        &mut scheduler,
        &item(1, "a", nightly(NEXT_TOO_LATE)),
        2 * HOUR,
    );
    assert_eq!(missed(&scheduler.tick(at(2 * HOUR))).len(), 1);
    let next = item(1, "a", window(24 * HOUR, 25 * HOUR));
    assert_eq!(offer(&mut scheduler, &next, 3 * HOUR), Offered::CatchingUp);
    scheduler.finish(id(2), Outcome::Succeeded, at(24 * HOUR + 60));
    assert_eq!(starts(&mut scheduler, 24 * HOUR + 60), [id(1)]);
    scheduler.finish(id(1), Outcome::Succeeded, at(24 * HOUR + 120));
    assert_eq!(
        offer(&mut scheduler, &next, 24 * HOUR + 120),
        Offered::Served
    );
}
