//! The event stream.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream},
    http::Request,
};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tower::ServiceExt as _;
use tresor_api::ApiOptions;
use tresor_catalog::{Catalog, TokenRole};
use tresor_jobs::{
    JobEvent, JobLog as _, JobQueue as _, NewJob, Owner, RecordedEvent, SubTaskSpec, Ticket,
    UnwindReason,
};
use tresor_model::{JobId, JobKind, JobState};
use tresor_problem::{Kind, Problem};

use super::support::Service;

/// An event as a browser has it.
#[derive(Debug)]
struct Heard {
    id: String,
    name: String,
    data: Value,
}

struct Ear {
    body: BodyDataStream,
    text: String,
}

impl Ear {
    async fn open(service: &Service, token: &str, last: Option<&str>) -> Self {
        let mut request =
            Request::get("/api/v1/events").header("authorization", format!("Bearer {token}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Body::empty()).expect("request");
        let answer = service.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let (body, text) = (answer.into_body().into_data_stream(), String::new());
        Self { body, text }
    }

    async fn next(&mut self) -> Heard {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().trim_start().to_owned()
                };
                let heard = Heard {
                    id: field("id:"),
                    name: field("event:"),
                    data: serde_json::from_str(&field("data:")).unwrap_or_default(),
                };
                self.text = rest.to_owned();
                if !heard.name.is_empty() {
                    return heard; // else a heartbeat
                }
                continue;
            }
            let bytes = self.body.next().await.expect("no end").expect("bytes");
            self.text
                .push_str(std::str::from_utf8(&bytes).expect("text"));
        }
    }
}

fn job(subject: &str, age_s: i64) -> NewJob {
    NewJob {
        id: JobId::generate(),
        kind: JobKind::Backup,
        subject: subject.to_owned(),
        lock: None,
        params: Value::Null,
        sub_tasks: vec![SubTaskSpec {
            name: "Prepare".to_owned(),
            limit_ms: None,
            commits: false,
        }],
        created_at: Timestamp::now() - SignedDuration::from_secs(age_s),
    }
}

async fn run(catalog: &Catalog, job: &NewJob, events: Vec<(JobEvent, JobState)>) {
    let owner = Owner::current();
    let lease = catalog.begin(job, &owner).await.expect("begin");
    let taken = (JobEvent::TakenUp { owner }, JobState::InProgress);
    let begun = job.created_at + SignedDuration::from_secs(7);
    for (seq, (event, state)) in (0..).zip([taken].into_iter().chain(events)) {
        let event = RecordedEvent {
            seq,
            at: begun,
            event,
        };
        catalog.append(&lease, &event, state).await.expect("append");
    }
}

/// A job that waited for 7 seconds and failed.
pub(crate) async fn failed_job(catalog: &Catalog, subject: &str) -> JobId {
    let job = job(subject, 60);
    let vm = subject.to_owned();
    let problem = Problem::from(Kind::VmNotFound { vm });
    let running = JobState::InProgress;
    let events = vec![
        (JobEvent::Started { sub_task: 0 }, running),
        (
            JobEvent::Failed {
                sub_task: 0,
                problem: problem.clone(),
            },
            running,
        ),
        (
            JobEvent::UnwindStarted {
                reason: UnwindReason::Failure,
                cause: problem,
            },
            running,
        ),
        (JobEvent::UndoStarted { sub_task: 0 }, running),
        (JobEvent::Undone { sub_task: 0 }, running),
        (
            JobEvent::Ended {
                state: JobState::Failed,
            },
            JobState::Failed,
        ),
    ];
    run(catalog, &job, events).await;
    job.id
}

async fn service() -> (Service, String) {
    let options = ApiOptions {
        poll: Duration::from_millis(20),
        ..ApiOptions::default()
    };
    let service = Service::with(options).await;
    let token = service.token(TokenRole::Reader).await;
    (service, token)
}

/// Protects VMs until a listener hears of one: then the poller knows what was there before.
async fn settled(service: &Service, ear: &mut Ear) -> Heard {
    for number in 0.. {
        let vm = service.vm(&format!("settle{number}")).await;
        let now = Timestamp::now();
        service
            .catalog
            .protect(vm, "nightly", now)
            .await
            .expect("protect");
        let patience = Duration::from_millis(500);
        if let Ok(heard) = tokio::time::timeout(patience, ear.next()).await {
            assert_eq!(heard.name, "item");
            return heard;
        }
    }
    unreachable!("heard or looking on")
}

#[tokio::test]
async fn a_listener_hears_of_jobs_and_of_items_and_can_resume() {
    let (service, token) = service().await;
    let old = failed_job(&service.catalog, "before").await;
    let mut ear = Ear::open(&service, &token, None).await;
    let first = settled(&service, &mut ear).await;

    let waiting = job("web01", 0);
    let ticket = Ticket {
        lane: "local".to_owned(),
        not_before: waiting.created_at,
        rank: 0,
    };
    service.catalog.enqueue(&waiting, &ticket).await.unwrap();
    let queued = next_of(&mut ear, waiting.id).await;
    assert_eq!(queued.data["job"]["state"], "queued");

    let running = job("db01", 0);
    let started = (JobEvent::Started { sub_task: 0 }, JobState::InProgress);
    run(&service.catalog, &running, vec![started]).await;
    let heard = loop {
        let heard = next_of(&mut ear, running.id).await;
        if !heard.data["sub_task"].is_null() {
            break heard;
        }
    };
    assert_eq!(heard.data["sub_task"]["name"], "Prepare");

    // One that has come and gone since the last look is heard of as well.
    let failed = failed_job(&service.catalog, "gone").await;
    let heard = loop {
        let heard = next_of(&mut ear, failed).await;
        if heard.data["job"]["state"] == "failed" {
            break heard;
        }
    };
    assert!(heard.id > first.id || heard.id.len() > first.id.len());
    drop(ear);

    // Who comes back with the first id hears what was told since, in order.
    let mut back = Ear::open(&service, &token, Some(&first.id)).await;
    let mut again = back.next().await;
    while again.name == "item" {
        again = back.next().await;
    }
    assert_eq!(again.data["job"]["id"], waiting.id.to_string());
    assert_ne!(again.data["job"]["id"], old.to_string());
    assert_eq!(again.id, queued.id);
}

async fn next_of(ear: &mut Ear, job: JobId) -> Heard {
    loop {
        let heard = ear.next().await;
        if heard.name == "job" && heard.data["job"]["id"] == job.to_string() {
            return heard;
        }
    }
}

#[tokio::test]
async fn who_cannot_resume_is_told_to_read_anew() {
    let (service, token) = service().await;
    for last in ["", "nonsense", "00000000000000000000000000000000-3"] {
        let mut ear = Ear::open(&service, &token, Some(last)).await;
        assert_eq!(ear.next().await.name, "reset");
    }
}
