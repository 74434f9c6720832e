//! Hosts that are away, clocks that differ, and services that do not answer.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::timeout;
use tresor_host_link::{Options, RemoteLog};
use tresor_jobs::testing::contract::new_job;
use tresor_jobs::{
    Engine, JobLog as _, JobQueue as _, LogErrorKind, Owner, Progress, Ticket, Tuning,
};

use crate::pair::{HANGS, Service, connect, patient};

/// A process on another machine.
fn elsewhere() -> Owner {
    Owner {
        machine: "another machine".to_owned(),
        boot: "another boot".to_owned(),
        ..Owner::current()
    }
}

/// What is recorded says that it is silent for longer than an owner may be.
async fn falls_silent(service: &Service, lease: &tresor_jobs::Lease) {
    let long_ago = Timestamp::now() - SignedDuration::from_secs(301);
    service.catalog.heartbeat(lease, long_ago).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_silent_host_is_left_to_it() {
    let service = Service::new().await;
    let host = service.enrol().await;
    let (lane, log) = (host.to_string(), service.log(host).await);
    let job = new_job("web01", None);
    let lease = log.begin(&job, &elsewhere()).await.unwrap();
    // The service's role, and the host's next process after a start of the machine.
    let of_service = Engine::new(service.catalog.clone());
    let next = Owner {
        boot: "the next boot".to_owned(),
        ..elsewhere()
    };
    let rebooted = Engine::with(log.clone(), next, Tuning::default());
    // One whose machine cannot tell: another container.
    let other = Owner {
        machine: "a third machine".to_owned(),
        boot: "a third boot".to_owned(),
        ..Owner::current()
    };
    let unsure = Engine::with(log.clone(), other, Tuning::default());
    let found = async |engine: &Engine, lane: &str| engine.abandoned_in(lane).await.unwrap().len();
    assert_eq!(found(&of_service, "local").await, 0);
    assert_eq!(found(&of_service, &lane).await, 0, "it may live");
    assert_eq!(found(&unsure, &lane).await, 0, "it may live");
    assert_eq!(found(&rebooted, &lane).await, 1, "nothing outlives a start");

    falls_silent(&service, &lease).await;
    assert_eq!(
        found(&of_service, "local").await,
        0,
        "not the service's, ever"
    );
    assert_eq!(found(&unsure, &lane).await, 1);
    // A sign of life counts by the service's clock, whatever the host's says.
    let wrong = Timestamp::now() - SignedDuration::from_hours(24);
    log.heartbeat(&lease, wrong).await.unwrap();
    assert_eq!(found(&unsure, &lane).await, 0);

    falls_silent(&service, &lease).await;
    let taken = log.take_over(job.id, lease.epoch, &other_owner()).await;
    let taken = taken.unwrap();
    // Who was taken for dead and comes back changes nothing.
    let late = log.heartbeat(&lease, Timestamp::now()).await;
    assert_eq!(late.unwrap_err().kind, LogErrorKind::LeaseLost);
    log.heartbeat(&taken, Timestamp::now()).await.unwrap();
}

fn other_owner() -> Owner {
    Owner::current()
}

/// What a host says of the time is a difference: its clock may be wrong by hours.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_as_long_as_was_asked_for() {
    let service = Service::new().await;
    let host = service.enrol().await;
    let (lane, log) = (host.to_string(), service.log(host).await);
    let job = new_job("later", None);
    let minutes = |minutes| Timestamp::now() + SignedDuration::from_mins(minutes);
    let mut ticket = Ticket {
        lane: lane.clone(),
        not_before: minutes(-1000),
        rank: 0,
    };
    log.enqueue(&job, &ticket).await.unwrap();
    let due = async |at| service.catalog.due(&lane, at, 10).await.unwrap().len();
    assert_eq!(due(Timestamp::now()).await, 1);
    ticket.not_before = minutes(60);
    log.requeue(job.id, &ticket).await.unwrap();
    assert_eq!((due(minutes(58)).await, due(minutes(61)).await), (0, 1));
    // The host's clock is an hour ahead: it is not due all the same.
    assert_eq!(log.due(&lane, minutes(61), 10).await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_the_log_is_unusable_in_the_end() {
    let service = Service::new().await;
    let host = service.enrol().await;
    let (connection, serving) = connect(&service.desk(host)).await;
    let (sender, connections) = watch::channel(Some(connection));
    let options = Options {
        silence: Duration::from_millis(50),
        ..patient()
    };
    let log = RemoteLog::new(connections.clone(), options);
    let (job, me) = (new_job("web01", None), Owner::current());
    let lease = log.begin(&job, &me).await.unwrap();
    serving.abort();
    serving.await.unwrap_err();
    for _ in 0..2 {
        let error = log.load(job.id).await.unwrap_err();
        assert_eq!(error.kind, LogErrorKind::Unusable);
        let problem = tresor_problem::Problem::from(&error);
        assert!(problem.cause.contains("connection"), "{problem}");
        sender.send(None).unwrap();
    }
    // Signs of life do not wait for a connection: with the patience of `HANGS` they would hang.
    let log = RemoteLog::new(connections, patient());
    let progress = Progress {
        sub_task: 0,
        done: 1,
        total: None,
        message: String::new(),
    };
    let beat = log.heartbeat(&lease, Timestamp::now()).await;
    assert_eq!(beat.unwrap_err().kind, LogErrorKind::Unusable);
    let said = log.set_progress(&lease, &progress).await;
    assert_eq!(said.unwrap_err().kind, LogErrorKind::Unusable);

    // Who waits goes on with the next connection.
    let loading = tokio::spawn(async move { log.load(job.id).await });
    let (connection, _) = connect(&service.desk(host)).await;
    sender.send(Some(connection)).unwrap();
    let loaded = timeout(HANGS, loading).await.unwrap().unwrap().unwrap();
    assert_eq!(loaded.header.owner, Some(me));
    drop(sender);
}
