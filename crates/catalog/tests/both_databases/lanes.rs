//! Jobs by lane, as the hosts' desk asks for them.

use jiff::Timestamp;
use tresor_catalog::Catalog;
use tresor_jobs::{
    JobEvent, JobLog as _, JobQueue as _, LogErrorKind, Owner, RecordedEvent, Ticket,
    testing::contract,
};
use tresor_model::{JobId, JobState};

pub(crate) async fn check(catalog: &Catalog) {
    let lane = format!("host:{}", JobId::generate());
    assert_eq!(catalog.unfinished_in(&lane).await.expect("count"), 0);
    let (begun, waits) = (contract::new_job("a", None), contract::new_job("b", None));
    let me = Owner::current();
    let lease = catalog.begin_in(&lane, &begun, &me).await.expect("begin");
    let again = catalog.begin_in(&lane, &begun, &me).await.expect("again");
    assert_eq!(again, lease);
    let elsewhere = catalog.begin_in("elsewhere", &begun, &me).await;
    assert_eq!(
        elsewhere.expect_err("another lane").kind,
        LogErrorKind::Unusable
    );
    let ticket = Ticket {
        lane: lane.clone(),
        not_before: Timestamp::now(),
        rank: 0,
    };
    catalog.enqueue(&waits, &ticket).await.expect("enqueue");
    assert_eq!(catalog.unfinished_in(&lane).await.expect("count"), 2);
    for job in [begun.id, waits.id] {
        let found = catalog.lane_of(job).await.expect("lane");
        assert_eq!(found.as_ref(), Some(&lane));
    }
    let unknown = catalog.lane_of(JobId::generate()).await;
    assert_eq!(unknown.expect_err("unknown").kind, LogErrorKind::NotFound);
    assert_eq!(catalog.story_size(begun.id).await.expect("size"), 0);
    let state = JobState::Completed;
    let ended = RecordedEvent {
        seq: 0,
        at: Timestamp::now(),
        event: JobEvent::Ended { state },
    };
    catalog.append(&lease, &ended, state).await.expect("append");
    let size = serde_json::to_string(&ended.event).expect("JSON").len();
    assert_eq!(
        catalog.story_size(begun.id).await.expect("size"),
        size as u64
    );
    assert_eq!(catalog.unfinished_in(&lane).await.expect("count"), 1);
}
