//! What every [`JobLog`] must do, as one suite.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tresor_model::{JobId, JobKind, JobState};

use super::dead_owner;
use crate::{
    JobEvent, JobFilter, JobLog, Lease, LogErrorKind, NewJob, Owner, Progress, RecordedEvent,
    SubTaskSpec, Warning,
};

/// What the suite must know of whoever keeps a log, where keepers may differ.
#[async_trait]
pub trait Keeper: Sync {
    /// Whether the keeper notes signs of life, and judges what is due, by its own clock: the callers' word for
    /// the time does not count.
    fn has_own_clock(&self) -> bool {
        false
    }

    /// A lock key that nobody holds, for jobs that are recorded through `lane`'s log or queue (the only one's,
    /// where there is one).
    async fn lock(&self, _lane: &str) -> String {
        format!("vm:{}", JobId::generate())
    }
}

/// A keeper that believes its callers.
pub struct Believing;

impl Keeper for Believing {}

/// Runs the whole suite. The log may hold other jobs.
///
/// # Panics
/// When the log does not keep its contract.
pub async fn check_log(log: &dyn JobLog) {
    check_log_of(&Believing, "", log).await;
}

/// Runs the whole suite on the log of a lane.
///
/// # Panics
/// When the log does not keep its contract.
pub async fn check_log_of(keeper: &dyn Keeper, lane: &str, log: &dyn JobLog) {
    a_story_comes_back_as_it_was_recorded(keeper, log).await;
    one_job_per_lock_key(log, keeper.lock(lane).await).await;
    a_job_is_begun_once(log, keeper.lock(lane).await).await;
    only_the_lease_holder_appends(log).await;
    an_event_number_is_used_once(log).await;
    take_over_has_one_winner(log).await;
    cancel_is_a_flag_on_unfinished_jobs(log).await;
    lists_filter_and_sort(log).await;
    unknown_jobs_are_not_found(log).await;
}

/// A job for tests; jobs with the same lock exclude each other.
#[must_use]
pub fn new_job(subject: &str, lock: Option<String>) -> NewJob {
    NewJob {
        id: JobId::generate(),
        kind: JobKind::Backup,
        subject: subject.to_owned(),
        lock,
        params: json!({"vm": subject, "n": 1}),
        sub_tasks: vec![SubTaskSpec {
            name: "Only one".to_owned(),
            limit_ms: Some(1500),
            commits: true,
        }],
        created_at: micros(Timestamp::now()),
    }
}

/// Logs keep microseconds.
pub(super) fn micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

fn event(seq: u64, event: JobEvent) -> RecordedEvent {
    let at = micros(Timestamp::now());
    RecordedEvent { seq, at, event }
}

fn warned(seq: u64) -> RecordedEvent {
    let warning = Warning::from("worth reading");
    let sub_task = None;
    event(seq, JobEvent::Warned { sub_task, warning })
}

async fn begun(log: &dyn JobLog, job: &NewJob) -> Lease {
    log.begin(job, &Owner::current()).await.expect("begin")
}

pub(super) async fn end(log: &(impl JobLog + ?Sized), lease: &Lease, seq: u64) {
    let state = JobState::Completed;
    let ended = event(seq, JobEvent::Ended { state });
    log.append(lease, &ended, state).await.expect("end");
}

pub(super) fn kind<T: std::fmt::Debug>(result: Result<T, crate::LogError>) -> LogErrorKind {
    result.expect_err("must be refused").kind
}

async fn a_story_comes_back_as_it_was_recorded(keeper: &dyn Keeper, log: &dyn JobLog) {
    let job = new_job("story", None);
    let owner = Owner::current();
    let lease = log.begin(&job, &owner).await.expect("begin");
    let queued = log.load(job.id).await.expect("load");
    assert_eq!(queued.header.state, JobState::Queued);
    let output = json!({"text": "a 'quoted' \u{1F512} \0 text", "big": u64::MAX});
    let events = [
        event(
            0,
            JobEvent::TakenUp {
                owner: owner.clone(),
            },
        ),
        event(1, JobEvent::Started { sub_task: 0 }),
        event(
            2,
            JobEvent::Succeeded {
                sub_task: 0,
                output,
            },
        ),
        warned(3),
    ];
    for recorded in &events {
        let state = JobState::InProgress;
        log.append(&lease, recorded, state).await.expect("append");
    }
    let progress = Progress {
        sub_task: 0,
        done: 1 << 40,
        total: Some(1 << 41),
        message: "vda".to_owned(),
    };
    log.set_progress(&lease, &progress).await.expect("progress");
    let before = log.load(job.id).await.expect("load").header.heartbeat_at;
    // Not by the keeper's clock: an hour ago, by ours.
    let beat = micros(Timestamp::now() - SignedDuration::from_hours(1));
    log.heartbeat(&lease, beat).await.expect("heartbeat");
    let story = log.load(job.id).await.expect("load");
    assert_eq!(story.events, events);
    assert_eq!(story.header.job, job);
    assert_eq!(story.header.state, JobState::InProgress);
    assert_eq!(story.header.owner, Some(owner));
    match keeper.has_own_clock() {
        true => assert!(story.header.heartbeat_at >= before),
        false => assert_eq!(story.header.heartbeat_at, beat),
    }
    assert_eq!(story.header.progress, Some(progress));
    assert!(story.view().expect("a legal story").is_committed());
    end(log, &lease, 4).await;
}

async fn one_job_per_lock_key(log: &dyn JobLog, lock: String) {
    let lock = Some(lock);
    let first = new_job("web01", lock.clone());
    let second = new_job("web01", lock);
    let lease = begun(log, &first).await;
    let refused = log.begin(&second, &Owner::current()).await;
    let error = refused.expect_err("the first job holds the key");
    assert_eq!(error.kind, LogErrorKind::Busy { holder: first.id });
    assert_eq!(error.context, "web01");
    assert_eq!(kind(log.load(second.id).await), LogErrorKind::NotFound);
    begun(log, &new_job("free", None)).await;
    end(log, &lease, 0).await;
    let lease = begun(log, &second).await;
    end(log, &lease, 0).await;
}

/// Who got no answer asks again, and nobody else passes for that one.
async fn a_job_is_begun_once(log: &dyn JobLog, lock: String) {
    let (job, me) = (new_job("again", Some(lock)), Owner::current());
    let lease = log.begin(&job, &me).await.expect("begin");
    assert_eq!(log.begin(&job, &me).await.expect("again"), lease);
    let other = NewJob {
        params: json!({"vm": "another"}),
        ..job.clone()
    };
    assert_eq!(kind(log.begin(&other, &me).await), LogErrorKind::Unusable);
    let by_another = log.begin(&job, &Owner::current()).await;
    assert_eq!(kind(by_another), LogErrorKind::Unusable);
    let next = log.take_over(job.id, lease.epoch, &Owner::current()).await;
    let next = next.expect("take over");
    assert_eq!(kind(log.begin(&job, &me).await), LogErrorKind::Unusable);
    end(log, &next, 0).await;
    let ended = log.begin(&job, &me).await;
    assert_eq!(kind(ended), LogErrorKind::Unusable);
}

async fn only_the_lease_holder_appends(log: &dyn JobLog) {
    let job = new_job("fenced", None);
    let old = log.begin(&job, &dead_owner()).await.expect("begin");
    let me = Owner::current();
    let new = log
        .take_over(job.id, old.epoch, &me)
        .await
        .expect("take over");
    assert!(new.epoch > old.epoch);
    let state = JobState::InProgress;
    let lost = LogErrorKind::LeaseLost;
    assert_eq!(kind(log.append(&old, &warned(0), state).await), lost);
    assert_eq!(kind(log.heartbeat(&old, Timestamp::now()).await), lost);
    log.append(&new, &warned(0), state).await.expect("append");
    let owner = log.load(job.id).await.expect("load").header.owner;
    assert_eq!(owner, Some(me));
    end(log, &new, 1).await;
    assert_eq!(kind(log.append(&new, &warned(2), state).await), lost);
    assert_eq!(log.load(job.id).await.expect("load").events.len(), 2);
}

async fn an_event_number_is_used_once(log: &dyn JobLog) {
    let job = new_job("numbers", None);
    let lease = begun(log, &job).await;
    let state = JobState::InProgress;
    let first = warned(0);
    // The same one again is the same one: its answer may have been lost.
    for _ in 0..2 {
        log.append(&lease, &first, state).await.expect("append");
    }
    let lost = LogErrorKind::LeaseLost;
    for wrong in [0, 2] {
        let other = event(wrong, JobEvent::Started { sub_task: 0 });
        let refused = log.append(&lease, &other, state).await;
        assert_eq!(kind(refused), lost, "number {wrong}");
    }
    let other_state = log.append(&lease, &first, JobState::Cancelling).await;
    assert_eq!(kind(other_state), lost);
    log.append(&lease, &warned(1), state).await.expect("append");
    assert_eq!(kind(log.append(&lease, &first, state).await), lost);
    let state = JobState::Completed;
    let ended = event(2, JobEvent::Ended { state });
    for _ in 0..2 {
        log.append(&lease, &ended, state).await.expect("end");
    }
    let old = Lease {
        epoch: lease.epoch + 1,
        ..lease
    };
    assert_eq!(kind(log.append(&old, &ended, state).await), lost);
    assert_eq!(log.load(job.id).await.expect("load").events.len(), 3);
}

async fn take_over_has_one_winner(log: &dyn JobLog) {
    let job = new_job("left", None);
    let old = log.begin(&job, &dead_owner()).await.expect("begin");
    // Two processes: one that asks again is told that it has it, where answers may be lost.
    let (me, other) = (Owner::current(), Owner::current());
    let (one, two) = tokio::join!(
        log.take_over(job.id, old.epoch, &me),
        log.take_over(job.id, old.epoch, &other)
    );
    assert!(one.is_ok() != two.is_ok(), "{one:?} and {two:?}");
    let lease = one.or(two).expect("one of them");
    end(log, &lease, 0).await;
    let late = log.take_over(job.id, lease.epoch, &me).await;
    assert_eq!(kind(late), LogErrorKind::LeaseLost);
}

async fn cancel_is_a_flag_on_unfinished_jobs(log: &dyn JobLog) {
    let job = new_job("stop", None);
    let lease = begun(log, &job).await;
    assert!(!log.cancel_requested(job.id).await.expect("flag"));
    for _ in 0..2 {
        log.request_cancel(job.id).await.expect("request");
    }
    assert!(log.cancel_requested(job.id).await.expect("flag"));
    end(log, &lease, 0).await;
    let done = new_job("done", None);
    let lease = begun(log, &done).await;
    end(log, &lease, 0).await;
    log.request_cancel(done.id).await.expect("no error");
    assert!(!log.cancel_requested(done.id).await.expect("flag"));
}

async fn listed(log: &dyn JobLog, filter: JobFilter) -> Vec<JobId> {
    let listed = log.list(&filter).await.expect("list");
    listed.iter().map(|row| row.job.id).collect()
}

async fn lists_filter_and_sort(log: &dyn JobLog) {
    let subject = format!("list-{}", JobId::generate());
    let mut jobs = [(); 4].map(|()| new_job(&subject, None));
    jobs[3].kind = JobKind::Collect;
    for job in &jobs {
        begun(log, job).await;
    }
    let [zero, one, two, three] = [0, 1, 2, 3].map(|number| jobs[number].id);
    let lease = Lease { job: one, epoch: 1 };
    end(log, &lease, 0).await;
    let all = JobFilter {
        subject: Some(subject),
        ..JobFilter::default()
    };
    let backups = JobFilter {
        kind: Some(JobKind::Backup),
        ..all.clone()
    };
    let in_state = |state| JobFilter {
        state: Some(state),
        ..all.clone()
    };
    let unfinished = JobFilter {
        unfinished: true,
        ..backups.clone()
    };
    let page = |before| JobFilter {
        before: Some(before),
        limit: Some(2),
        ..all.clone()
    };
    let in_a_lane = JobFilter {
        lane: Some("never waited".to_owned()),
        ..all.clone()
    };
    for (filter, expected) in [
        (all.clone(), vec![three, two, one, zero]),
        (backups, vec![two, one, zero]),
        (in_state(JobState::Completed), vec![one]),
        (in_state(JobState::Queued), vec![three, two, zero]),
        (unfinished, vec![two, zero]),
        (page(three), vec![two, one]),
        (page(one), vec![zero]),
        (page(zero), vec![]),
        (in_a_lane, vec![]),
    ] {
        assert_eq!(listed(log, filter.clone()).await, expected, "{filter:?}");
    }
    let newest = JobFilter {
        limit: Some(1),
        ..all
    };
    assert_eq!(listed(log, newest).await, [three]);
}

async fn unknown_jobs_are_not_found(log: &dyn JobLog) {
    let job = JobId::generate();
    let not_found = LogErrorKind::NotFound;
    assert_eq!(kind(log.load(job).await), not_found);
    assert_eq!(kind(log.request_cancel(job).await), not_found);
    assert_eq!(kind(log.cancel_requested(job).await), not_found);
    let taken = log.take_over(job, 1, &Owner::current()).await;
    assert_eq!(kind(taken), not_found);
}
