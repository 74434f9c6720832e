//! What is counted when jobs end.

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::json;
use tresor_catalog::{Catalog, Tally};
use tresor_jobs::{
    JobEvent, JobLog as _, JobQueue as _, NewJob, Owner, RecordedEvent, SubTaskSpec, Ticket,
};
use tresor_model::{JobId, JobKind, JobState};

use super::now;

/// A backup of two sub-tasks, made at `at`.
fn backup(at: Timestamp) -> NewJob {
    let task = |name: &str, commits| SubTaskSpec {
        name: name.to_owned(),
        limit_ms: None,
        commits,
    };
    NewJob {
        id: JobId::generate(),
        kind: JobKind::Backup,
        subject: "tallied".to_owned(),
        lock: None,
        params: json!({}),
        sub_tasks: vec![task("Take it", false), task("Keep it", true)],
        created_at: at,
    }
}

/// Runs it: 2 s until it is taken up, 3 s the first sub-task, 40 s the second.
async fn run(catalog: &Catalog, at: Timestamp) {
    let job = backup(at);
    let owner = Owner::current();
    let lease = catalog.begin(&job, &owner).await.expect("begin");
    let done = |sub_task, output| JobEvent::Succeeded { sub_task, output };
    let state = JobState::Completed;
    let events = [
        (2, JobEvent::TakenUp { owner }),
        (2, JobEvent::Started { sub_task: 0 }),
        (5, done(0, json!({"frozen_us": 70_000}))),
        (5, JobEvent::Started { sub_task: 1 }),
        (45, done(1, json!({"read": 3 << 20, "stored": 100}))),
        (45, JobEvent::Ended { state }),
    ];
    for (seq, (after, event)) in (0..).zip(events) {
        let at = at + super::seconds(after);
        let state = match event {
            JobEvent::Ended { state } => state,
            _ => JobState::InProgress,
        };
        let recorded = RecordedEvent { seq, at, event };
        catalog
            .append(&lease, &recorded, state)
            .await
            .expect("append");
    }
}

pub(super) async fn check(one: &Catalog, two: &Catalog) {
    let before = one.tallies().await.expect("tallies");
    let at = now();
    let runs = (0..6).map(|number| run(if number % 2 == 0 { one } else { two }, at));
    join_all(runs).await;
    let after = two.tallies().await.expect("tallies");
    let of = |tally, label: &str| {
        let key = (tally, "backup".to_owned(), label.to_owned());
        let before = before.get(&key).cloned().unwrap_or_default();
        let counted = after[&key].clone();
        let sum = counted.sum - before.sum;
        (counted.count - before.count, sum, counted.up_to)
    };
    assert_eq!(of(Tally::JobsEnded, "completed").0, 6);
    let second = 1_000_000;
    let duration = of(Tally::JobDuration, "");
    assert_eq!((duration.0, duration.1), (6, 6 * 43 * second));
    assert_eq!(of(Tally::JobWait, "").1, 6 * 2 * second);
    let take = of(Tally::SubTaskDuration, "Take it");
    // Up to a second none, up to five all, and so on: each bucket has those before it.
    assert_eq!(
        (take.1, &take.2[..]),
        (18 * second, &[0, 6, 6, 6, 6, 6, 6, 6, 6][..])
    );
    assert_eq!(of(Tally::SubTaskDuration, "Keep it").2[..4], [0, 0, 0, 6]);
    assert_eq!(of(Tally::BackupStored, "").1, 600);
    assert_eq!(of(Tally::BackupRead, "").1, 6 * (3 << 20));
    let freeze = of(Tally::GuestFreeze, "");
    assert_eq!((freeze.1, &freeze.2[..4]), (420_000, &[0, 0, 6, 6][..]));
    let last = one.last_completed("tallied", "backup").await;
    assert_eq!(last.expect("last"), Some(at + super::seconds(45)));
    waiting(one).await;
}

async fn waiting(catalog: &Catalog) {
    let at = now();
    for seconds in [9, 3] {
        let ticket = Ticket {
            lane: "counted".to_owned(),
            not_before: at,
            rank: 0,
        };
        let job = backup(at - super::seconds(seconds));
        catalog.enqueue(&job, &ticket).await.expect("enqueue");
    }
    let lanes = catalog.waiting_jobs().await.expect("waiting");
    let lane = lanes.iter().find(|lane| lane.lane == "counted");
    let lane = lane.expect("the lane");
    assert_eq!((lane.jobs, lane.oldest_at), (2, at - super::seconds(9)));
    let running = catalog.running_jobs().await.expect("running");
    assert!(running.iter().all(|(_, number)| *number > 0));
}
