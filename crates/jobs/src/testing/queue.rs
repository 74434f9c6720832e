//! What every [`JobQueue`] must do, as one suite.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tresor_model::{JobId, JobState};

use super::contract::{Keeper, end, kind, micros, new_job};
use crate::{JobFilter, JobQueue, LogErrorKind, NewJob, Owner, Ticket};

/// Queues with lanes: one for all, or one for each.
#[async_trait]
pub trait Lanes: Keeper {
    /// A lane in which no job waits.
    async fn lane(&self) -> String;

    /// The queue as whoever puts jobs into all lanes has it.
    fn queue(&self) -> &dyn JobQueue;

    /// The queue as whoever takes jobs out of this lane has it.
    fn at(&self, lane: &str) -> Arc<dyn JobQueue>;
}

/// One queue for all, that believes its callers.
struct OneQueue<Q>(Arc<Q>);

impl<Q: Send + Sync> Keeper for OneQueue<Q> {}

#[async_trait]
impl<Q: JobQueue + 'static> Lanes for OneQueue<Q> {
    async fn lane(&self) -> String {
        format!("host:{}", JobId::generate())
    }

    fn queue(&self) -> &dyn JobQueue {
        &*self.0
    }

    fn at(&self, _lane: &str) -> Arc<dyn JobQueue> {
        Arc::clone(&self.0) as _
    }
}

/// Runs the whole suite. The queue may hold other jobs.
///
/// # Panics
/// When the queue does not keep its contract.
pub async fn check_queue<Q: JobQueue + 'static>(queue: Arc<Q>) {
    check_queue_of(&OneQueue(queue)).await;
}

/// Runs the whole suite on queues with lanes.
///
/// # Panics
/// When a queue does not keep its contract.
pub async fn check_queue_of(lanes: &dyn Lanes) {
    a_job_waits_without_owner_and_key(lanes).await;
    a_held_key_leaves_the_job_waiting(lanes).await;
    jobs_are_due_in_their_order(lanes).await;
    one_of_many_claims(lanes).await;
    a_key_that_changes_hands_is_no_defect(lanes).await;
    a_lane_lists_what_it_has_taken_up(lanes).await;
    an_end_can_be_asked_for(lanes).await;
    a_job_is_enqueued_once(lanes).await;
    what_does_not_wait_is_refused(lanes).await;
}

fn ticket(lane: &str) -> Ticket {
    Ticket {
        lane: lane.to_owned(),
        not_before: micros(Timestamp::now()) - SignedDuration::from_secs(1),
        rank: 0,
    }
}

async fn due(queue: &dyn JobQueue, lane: &str) -> Vec<JobId> {
    let due = queue.due(lane, Timestamp::now(), 10).await.expect("due");
    due.iter().map(|waiting| waiting.job.id).collect()
}

async fn a_job_waits_without_owner_and_key(lanes: &dyn Lanes) {
    let lane = lanes.lane().await;
    let lock = Some(lanes.lock(&lane).await);
    let (queue, taker) = (lanes.queue(), lanes.at(&lane));
    let taker = &*taker;
    let job = new_job("waits", lock.clone());
    queue.enqueue(&job, &ticket(&lane)).await.expect("enqueue");
    let waiting = taker.due(&lane, Timestamp::now(), 10).await.expect("due");
    assert_eq!(waiting.len(), 1);
    assert_eq!((&waiting[0].job, &waiting[0].ticket.lane), (&job, &lane));
    let story = taker.load(job.id).await.expect("load");
    assert_eq!(story.header.state, JobState::Queued);
    assert_eq!((story.header.owner, story.events.len()), (None, 0));
    // It holds up nobody, and is nobody's to take over.
    let other = new_job("waits", lock);
    let me = Owner::current();
    let lease = taker.begin(&other, &me).await.expect("begin");
    end(taker, &lease, 0).await;
    let taken = taker.take_over(job.id, 0, &me).await;
    assert_eq!(kind(taken), LogErrorKind::LeaseLost);

    let lease = taker.claim(job.id, &me).await.expect("claim");
    let header = taker.load(job.id).await.expect("load").header;
    assert_eq!((header.owner, header.epoch), (Some(me), lease.epoch));
    assert_eq!(header.job.lock, job.lock);
    assert_eq!(due(taker, &lane).await, []);
    end(taker, &lease, 0).await;
}

async fn a_held_key_leaves_the_job_waiting(lanes: &dyn Lanes) {
    let lane = lanes.lane().await;
    let lock = Some(lanes.lock(&lane).await);
    let (queue, taker) = (lanes.queue(), lanes.at(&lane));
    let taker = &*taker;
    let me = Owner::current();
    let first = new_job("web01", lock.clone());
    let lease = taker.begin(&first, &me).await.expect("begin");
    let second = new_job("web01", lock);
    queue
        .enqueue(&second, &ticket(&lane))
        .await
        .expect("enqueue");
    let refused = taker.claim(second.id, &me).await;
    assert_eq!(kind(refused), LogErrorKind::Busy { holder: first.id });
    assert_eq!(due(taker, &lane).await, [second.id]);
    end(taker, &lease, 0).await;
    let lease = taker.claim(second.id, &me).await.expect("claim");
    let third = taker.begin(&first_again(&first), &me).await;
    assert_eq!(kind(third), LogErrorKind::Busy { holder: second.id });
    end(taker, &lease, 0).await;
}

fn first_again(first: &NewJob) -> NewJob {
    NewJob {
        id: JobId::generate(),
        ..first.clone()
    }
}

async fn jobs_are_due_in_their_order(lanes: &dyn Lanes) {
    let (lane, elsewhere) = (lanes.lane().await, lanes.lane().await);
    let (queue, here, there) = (lanes.queue(), lanes.at(&lane), lanes.at(&elsewhere));
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    let jobs = [(); 5].map(|()| new_job("order", None));
    let mut places = [(); 5].map(|()| ticket(&lane));
    places[0].rank = 5;
    places[3].not_before = micros(later);
    places[4].lane.clone_from(&elsewhere);
    for (job, place) in jobs.iter().zip(&places) {
        queue.enqueue(job, place).await.expect("enqueue");
    }
    assert_eq!(
        due(&*here, &lane).await,
        [jobs[1].id, jobs[2].id, jobs[0].id]
    );
    let few = here.due(&lane, Timestamp::now(), 1).await.expect("due");
    assert_eq!(few[0].job.id, jobs[1].id);
    let all = here.due(&lane, later + SignedDuration::from_secs(1), 10);
    // By its own clock it is not later than it is.
    let expected = if lanes.has_own_clock() { 3 } else { 4 };
    assert_eq!(all.await.expect("due").len(), expected);
    // Moved to the other host, and before what is there.
    let mut moved = ticket(&elsewhere);
    moved.rank = -1;
    queue.requeue(jobs[2].id, &moved).await.expect("requeue");
    assert_eq!(due(&*here, &lane).await, [jobs[1].id, jobs[0].id]);
    assert_eq!(due(&*there, &elsewhere).await, [jobs[2].id, jobs[4].id]);
}

async fn one_of_many_claims(lanes: &dyn Lanes) {
    let lane = lanes.lane().await;
    let job = new_job("race", Some(lanes.lock(&lane).await));
    let (queue, taker) = (lanes.queue(), lanes.at(&lane));
    queue.enqueue(&job, &ticket(&lane)).await.expect("enqueue");
    // Two processes: one that asks again is told that it has it, where answers may be lost.
    let (me, other) = (Owner::current(), Owner::current());
    let (one, two) = tokio::join!(taker.claim(job.id, &me), taker.claim(job.id, &other));
    assert!(one.is_ok() != two.is_ok(), "{one:?} and {two:?}");
    let lease = match (one, two) {
        (Ok(lease), lost) | (lost, Ok(lease)) => {
            assert_eq!(kind(lost), LogErrorKind::LeaseLost);
            lease
        }
        both => panic!("{both:?}"),
    };
    end(&*taker, &lease, 0).await;
}

/// Who is refused is told who holds the key, never the job itself, though holders end meanwhile.
async fn a_key_that_changes_hands_is_no_defect(lanes: &dyn Lanes) {
    let lane = lanes.lane().await;
    let lock = Some(lanes.lock(&lane).await);
    let (queue, taker) = (lanes.queue(), lanes.at(&lane));
    let taker = &*taker;
    let me = Owner::current();
    let jobs = [(); 8].map(|()| new_job("passed on", lock.clone()));
    for job in &jobs {
        queue.enqueue(job, &ticket(&lane)).await.expect("enqueue");
    }
    let run = async |id: JobId| loop {
        match taker.claim(id, &me).await {
            Ok(lease) => return end(taker, &lease, 0).await,
            Err(error) => match error.kind {
                LogErrorKind::Busy { holder } => assert_ne!(holder, id, "it waits for itself"),
                other => panic!("{other:?}"),
            },
        }
    };
    join_all(jobs.iter().map(|job| run(job.id))).await;
    assert_eq!(due(taker, &lane).await, []);
}

async fn a_lane_lists_what_it_has_taken_up(lanes: &dyn Lanes) {
    let (mine, other) = (lanes.lane().await, lanes.lane().await);
    let queue = lanes.queue();
    let taker = lanes.at(&mine);
    let me = Owner::current();
    let jobs = [(); 3].map(|()| new_job("lanes", None));
    for job in &jobs {
        queue.enqueue(job, &ticket(&other)).await.expect("enqueue");
    }
    let [zero, one, two] = [0, 1, 2].map(|number| jobs[number].id);
    for id in [zero, one] {
        queue.requeue(id, &ticket(&mine)).await.expect("requeue");
    }
    let lease = taker.claim(one, &me).await.expect("claim");
    let header = taker.load(one).await.expect("load").header;
    assert_eq!(header.lane.as_ref(), Some(&mine), "the lane is kept");
    let unfinished = async |lane: &String| {
        let filter = JobFilter {
            lane: Some(lane.clone()),
            unfinished: true,
            ..JobFilter::default()
        };
        let listed = lanes.at(lane).list(&filter).await.expect("list");
        listed.iter().map(|row| row.job.id).collect::<Vec<_>>()
    };
    assert_eq!(unfinished(&mine).await, [one, zero]);
    assert_eq!(unfinished(&other).await, [two]);
    end(&*taker, &lease, 0).await;
    assert_eq!(unfinished(&mine).await, [zero]);
}

async fn an_end_can_be_asked_for(lanes: &dyn Lanes) {
    let lane = lanes.lane().await;
    let (queue, taker) = (lanes.queue(), lanes.at(&lane));
    let job = new_job("stop", None);
    queue.enqueue(&job, &ticket(&lane)).await.expect("enqueue");
    taker.request_cancel(job.id).await.expect("request");
    let waiting = taker.due(&lane, Timestamp::now(), 10).await.expect("due");
    assert!(waiting[0].cancel_requested);
}

async fn a_job_is_enqueued_once(lanes: &dyn Lanes) {
    let lane = lanes.lane().await;
    let taker = lanes.at(&lane);
    let job = new_job("again", Some(lanes.lock(&lane).await));
    for _ in 0..2 {
        taker.enqueue(&job, &ticket(&lane)).await.expect("enqueue");
    }
    let other = NewJob {
        subject: "another".to_owned(),
        ..job.clone()
    };
    let refused = taker.enqueue(&other, &ticket(&lane)).await;
    assert_eq!(kind(refused), LogErrorKind::Unusable);
    assert_eq!(due(&*taker, &lane).await, [job.id]);
    let lease = taker.claim(job.id, &Owner::current()).await.expect("claim");
    let late = taker.enqueue(&job, &ticket(&lane)).await;
    assert_eq!(kind(late), LogErrorKind::Unusable);
    end(&*taker, &lease, 0).await;
}

async fn what_does_not_wait_is_refused(lanes: &dyn Lanes) {
    let lane = lanes.lane().await;
    let queue = lanes.at(&lane);
    let me = Owner::current();
    let unknown = JobId::generate();
    assert_eq!(
        kind(queue.claim(unknown, &me).await),
        LogErrorKind::NotFound
    );
    let place = ticket(&lane);
    let moved = queue.requeue(unknown, &place).await;
    assert_eq!(kind(moved), LogErrorKind::NotFound);
    let job = new_job("runs", None);
    let lease = queue.begin(&job, &me).await.expect("begin");
    let other = Owner::current();
    assert_eq!(
        kind(queue.claim(job.id, &other).await),
        LogErrorKind::LeaseLost
    );
    let moved = queue.requeue(job.id, &place).await;
    assert_eq!(kind(moved), LogErrorKind::LeaseLost);
    assert_eq!(
        kind(queue.enqueue(&job, &place).await),
        LogErrorKind::Unusable
    );
    end(&*queue, &lease, 0).await;
}
