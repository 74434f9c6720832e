//! Who starts, who waits, and what it says.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use support::{HOUR, at, id, item, limit, limits, starts, window};
use tresor_schedule::{
    Finished, Item, Limits, Offered, Outcome, Priority, Resource, ResourceKind, Scheduler,
    StartReason,
};

const WIDE: i64 = 8 * HOUR;

fn easy() -> Limits {
    limits(limit(2, 0), limit(100, 0), limit(100, 0))
}

fn scheduler(limits: Limits, items: &[Item]) -> Scheduler {
    let mut scheduler = Scheduler::new(limits);
    for item in items {
        scheduler.offer(item, at(-HOUR)).unwrap();
    }
    scheduler
}

fn why(scheduler: &Scheduler, number: u32) -> String {
    scheduler
        .why(id(number))
        .map_or_else(|| "nothing".to_owned(), |reason| reason.to_string())
}

fn three_on(hosts: [&str; 3]) -> Vec<Item> {
    let items = (1..).zip(hosts);
    items
        .map(|(number, host)| item(number, host, window(0, WIDE)))
        .collect()
}

#[test]
fn each_limit_holds_and_says_so() {
    let (one, gap) = (limit(1, 0), limit(9, 30));
    let much = limit(100, 0);
    for (limits, hosts, wanted) in [
        (easy(), ["a", "a", "a"], "waits for host a, 2 of 2 run"),
        (
            limits(much, limit(2, 0), much),
            ["a", "b", "c"],
            "waits for storage group g, 2 of 2 run",
        ),
        (
            limits(much, much, limit(2, 0)),
            ["a", "b", "c"],
            "waits for vault v, 2 of 2 run",
        ),
        (
            limits(gap, much, much),
            ["a", "b", "b"],
            "waits for host b, where another has just started, until 2026-01-01T00:00:30Z",
        ),
        (
            limits(one, much, limit(2, 0)),
            ["a", "b", "b"],
            "waits for host b, 1 of 1 run",
        ),
    ] {
        let mut scheduler = scheduler(limits, &three_on(hosts));
        let decisions = scheduler.tick(at(0));
        assert_eq!(decisions.starts.len(), 2, "{wanted}");
        assert_eq!(decisions.waits.len(), 1, "{wanted}");
        assert_eq!(decisions.waits[0].reason.to_string(), wanted);
        assert_eq!(
            scheduler.why(decisions.waits[0].item).unwrap().to_string(),
            wanted
        );
    }
}

#[test]
fn what_ends_makes_room() {
    let mut scheduler = scheduler(easy(), &three_on(["a"; 3]));
    let first = starts(&mut scheduler, 0);
    assert_eq!(starts(&mut scheduler, 100), []);
    assert_eq!(
        scheduler.finish(first[0], Outcome::Succeeded, at(101)),
        Finished::Done
    );
    assert_eq!(
        scheduler.finish(first[0], Outcome::Succeeded, at(101)),
        Finished::NotRunning
    );
    assert_eq!(starts(&mut scheduler, 101).len(), 1);
    let host = Resource::new(ResourceKind::Host, "a");
    assert_eq!(scheduler.load(&host), Some((2, 2)));
    assert_eq!(scheduler.waiting(), 0);
}

#[test]
fn a_gap_ends_by_itself() {
    let gap = limits(limit(9, 60), limit(100, 0), limit(100, 0));
    let mut scheduler = scheduler(gap, &three_on(["a"; 3]));
    let decisions = scheduler.tick(at(0));
    assert_eq!(decisions.starts.len(), 1);
    assert_eq!(decisions.wake_at, Some(at(60)));
    assert_eq!(starts(&mut scheduler, 59), []);
    assert_eq!(starts(&mut scheduler, 60).len(), 1);
    assert_eq!(starts(&mut scheduler, 300).len(), 1);
}

#[test]
fn a_host_that_is_away_takes_nothing_until_it_is_back() {
    let mut scheduler = scheduler(easy(), &three_on(["a"; 3]));
    let host = || Resource::new(ResourceKind::Host, "a");
    scheduler.set_limit(host(), limit(0, 0));
    assert_eq!(starts(&mut scheduler, 0), []);
    assert_eq!(
        why(&scheduler, 1),
        "waits for host a, which takes no jobs now"
    );
    scheduler.set_limit(host(), limit(3, 0));
    assert_eq!(starts(&mut scheduler, 5).len(), 3);
}

#[test]
fn before_its_time_an_item_says_when_that_is() {
    let mut held = item(2, "a", window(0, WIDE));
    held.not_before = Some(at(900));
    let mut scheduler = scheduler(easy(), &[item(1, "a", window(600, WIDE)), held]);
    let decisions = scheduler.tick(at(0));
    assert_eq!((decisions.starts.len(), decisions.waits.len()), (0, 0));
    assert_eq!(decisions.wake_at, Some(at(600)));
    assert_eq!(why(&scheduler, 1), "starts at 2026-01-01T00:10:00Z");
    assert_eq!(why(&scheduler, 2), "held back until 2026-01-01T00:15:00Z");
    assert_eq!(starts(&mut scheduler, 600), [id(1)]);
    assert_eq!(why(&scheduler, 1), "nothing");
    assert_eq!(starts(&mut scheduler, 899), []);
    assert_eq!(starts(&mut scheduler, 900), [id(2)]);
}

#[test]
fn a_hold_can_be_set_and_lifted() {
    let mut scheduler = scheduler(easy(), &[item(1, "a", window(0, WIDE))]);
    scheduler.hold(id(1), Some(at(HOUR)));
    assert_eq!(starts(&mut scheduler, 10), []);
    scheduler.hold(id(1), None);
    assert_eq!(starts(&mut scheduler, 20), [id(1)]);
}

#[test]
fn the_earliest_promise_goes_first() {
    let with = |number, closes, deadline: Option<i64>, priority| {
        let mut item = item(number, "a", window(0, closes));
        item.window.deadline = deadline.map(at);
        item.priority = priority;
        item
    };
    let normal = Priority::Normal;
    for (what, one, two, wanted) in [
        (
            "closes first",
            with(1, 4 * HOUR, None, normal),
            with(2, 3 * HOUR, None, normal),
            2,
        ),
        (
            "due first",
            with(1, WIDE, None, normal),
            with(2, WIDE, Some(HOUR), normal),
            2,
        ),
        (
            "a lost deadline counts no more",
            with(1, 60, None, normal),
            with(2, WIDE, Some(599), normal),
            1,
        ),
        (
            "priority",
            with(1, WIDE, None, normal),
            with(2, WIDE, None, Priority::High),
            2,
        ),
        (
            "priority is a head start, no more",
            with(1, 5 * HOUR, None, Priority::Low),
            with(2, WIDE, None, Priority::High),
            1,
        ),
    ] {
        let one_place = limits(limit(1, 0), limit(100, 0), limit(100, 0));
        let mut scheduler = scheduler(one_place, &[one, two]);
        assert_eq!(starts(&mut scheduler, 30), [id(wanted)], "{what}");
    }
}

#[test]
fn one_job_runs_of_an_item() {
    let mut scheduler = scheduler(easy(), &[item(1, "a", window(0, HOUR))]);
    assert_eq!(starts(&mut scheduler, 0), [id(1)]);
    assert!(scheduler.runs(id(1)));
    let next = item(1, "a", window(2 * HOUR, 3 * HOUR));
    scheduler.offer(&next, at(10)).unwrap();
    assert_eq!(starts(&mut scheduler, 2 * HOUR), []);
    assert_eq!(
        why(&scheduler, 1),
        "its last job still runs, since 2026-01-01T00:00:00Z"
    );
    // It ends within the window, so that is served.
    scheduler.finish(id(1), Outcome::Succeeded, at(2 * HOUR + 60));
    let decisions = scheduler.tick(at(2 * HOUR + 60));
    assert_eq!(decisions.starts[0].why, StartReason::Window);
    assert_eq!(decisions.starts[0].waited.as_secs(), 60);
}

#[test]
fn a_window_is_served_by_one_start() {
    let mut scheduler = scheduler(easy(), &[item(1, "a", window(0, HOUR))]);
    assert_eq!(starts(&mut scheduler, 5), [id(1)]);
    scheduler.finish(id(1), Outcome::Succeeded, at(60));
    let again = scheduler
        .offer(&item(1, "a", window(0, HOUR)), at(70))
        .unwrap();
    assert_eq!(again, Offered::Served);
    // Nor by another process, which only knows of the point.
    let mut after_restart = Scheduler::new(easy());
    let mut known = item(1, "a", window(0, HOUR));
    known.last_point = Some(at(5));
    assert_eq!(
        after_restart.offer(&known, at(80)).unwrap(),
        Offered::Served
    );
    assert_eq!(starts(&mut after_restart, 90), []);
}

#[test]
fn what_is_removed_starts_no_more_and_counts_until_it_ends() {
    let mut scheduler = scheduler(easy(), &three_on(["a"; 3]));
    let running = starts(&mut scheduler, 0);
    let waiting = (1..=3).map(id).find(|id| !running.contains(id)).unwrap();
    scheduler.remove(running[0]);
    assert_eq!(starts(&mut scheduler, 10), []);
    scheduler.remove(waiting);
    let retry_at = Some(at(30));
    assert_eq!(
        scheduler.finish(running[0], Outcome::Failed { retry_at }, at(20)),
        Finished::Done,
        "what is gone is not tried again"
    );
    assert_eq!(starts(&mut scheduler, 40), []);
    assert_eq!(
        scheduler.finish(running[0], Outcome::Succeeded, at(50)),
        Finished::NotRunning
    );
    let host = Resource::new(ResourceKind::Host, "a");
    assert_eq!(scheduler.load(&host), Some((1, 2)));
}

#[test]
fn a_job_that_was_running_is_taken_over() {
    let mut scheduler = Scheduler::new(limits(limit(1, 0), limit(9, 0), limit(9, 0)));
    scheduler
        .adopt(&item(1, "a", window(0, HOUR)), at(100))
        .unwrap();
    scheduler
        .offer(&item(2, "a", window(200, HOUR)), at(200))
        .unwrap();
    assert_eq!(starts(&mut scheduler, 1000), []);
    assert_eq!(why(&scheduler, 2), "waits for host a, 1 of 1 run");
    let retry_at = Some(at(1200));
    assert_eq!(
        scheduler.finish(id(1), Outcome::Failed { retry_at }, at(1100)),
        Finished::Retries
    );
    assert_eq!(starts(&mut scheduler, 1100), [id(2)]);
    scheduler.finish(id(2), Outcome::Succeeded, at(1300));
    assert_eq!(starts(&mut scheduler, 1300), [id(1)]);
}

/// The others come so that host and vault are never free together, and would go on for ever. Each
/// is ranked behind the first.
#[test]
fn nobody_is_passed_over_for_ever() {
    let one = limit(1, 0);
    let mut scheduler = Scheduler::new(limits(one, limit(100, 0), one));
    let place = |mut item: Item, vault: &str| {
        item.place.vault = vault.to_owned();
        item
    };
    let first = place(item(0, "a", window(100, WIDE)), "v");
    scheduler.offer(&first, at(0)).unwrap();
    let (mut on_host, mut in_vault, mut number) = (None, None, 0);
    for now in (0..4 * HOUR).step_by(100) {
        // Alternately one of the two places becomes free, and a new one wants just that.
        let (ends, new) = if now / 100 % 2 == 0 {
            (
                &mut on_host,
                place(item(number + 1, "a", window(now, 2 * WIDE)), "w"),
            )
        } else {
            (
                &mut in_vault,
                place(item(number + 1, "b", window(now, 2 * WIDE)), "v"),
            )
        };
        number += 1;
        if let Some(ends) = ends.take() {
            scheduler.finish(ends, Outcome::Succeeded, at(now));
        }
        scheduler.offer(&new, at(now)).unwrap();
        for started in starts(&mut scheduler, now) {
            if started == id(0) {
                assert!(now > 200, "both were taken at first");
                return;
            }
            *ends = Some(started);
        }
    }
    panic!("it waits: {}", why(&scheduler, 0));
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut scheduler = scheduler(easy(), &three_on(["a", "a", "b"]));
    assert_eq!(starts(&mut scheduler, 100).len(), 3);
    assert_eq!(starts(&mut scheduler, -HOUR), []);
    scheduler.finish(id(1), Outcome::Succeeded, at(-HOUR));
    let next = item(1, "a", window(50, WIDE));
    assert_eq!(scheduler.offer(&next, at(-HOUR)).unwrap(), Offered::Served);
}

#[test]
fn a_window_without_a_moment_is_refused() {
    let mut scheduler = Scheduler::new(easy());
    let error = scheduler
        .offer(&item(1, "a", window(10, 9)), at(0))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the start window closes at 2026-01-01T00:00:09Z, before it opens at 2026-01-01T00:00:10Z"
    );
    assert_eq!(scheduler.why(id(1)), None);
}
