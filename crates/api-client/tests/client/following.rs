//! The event stream, and a job that is followed to its end.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use tresor_api_client::{News, types::JobView};
use tresor_catalog::TokenRole;
use tresor_jobs::{Engine, JobQueue as _, NewJob, Ticket};
use tresor_model::{JobId, JobState};
use tresor_problem::Kind;
use tresor_workflows::verify::{VerifyOrder, VerifyWhat};

use crate::support::{Port, Says, Script, Service};

/// A job that waits.
async fn queued(service: &Service) -> JobId {
    let order = VerifyOrder::new("main", VerifyWhat::All);
    let job: NewJob = order.new_job(JobId::generate(), Timestamp::now());
    let ticket = Ticket {
        lane: "local".to_owned(),
        not_before: job.created_at,
        rank: 0,
    };
    service.catalog.enqueue(&job, &ticket).await.unwrap();
    job.id
}

#[tokio::test]
async fn a_job_is_followed_to_its_end_over_the_port() {
    let service = Service::new().await;
    let port = Port::open(service.router.clone(), service.dir.path()).await;
    let token = service.token(TokenRole::Operator).await;
    let trust = tresor_identity::ApiTrust::Authorities(port.trust.clone());
    let https = tresor_api_client::Https::new(&port.address, &trust, Some(&token)).unwrap();
    let client = tresor_api_client::Client::new(Arc::new(https));
    let job = queued(&service).await;
    let told: Arc<Mutex<Vec<JobState>>> = Arc::default();
    let heard = Arc::clone(&told);
    let follower = client.clone();
    let following = tokio::spawn(async move {
        let hear = |news: &tresor_api_client::types::JobNews| {
            heard.lock().unwrap().push(news.job.state);
        };
        follower.follow(job, hear).await
    });
    while told.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Nobody works here: who takes it up finds that it cannot be begun.
    let engine = Engine::new(service.catalog.clone());
    let cause = Kind::VaultNotFound {
        location: "main".to_owned(),
    };
    let refused = engine.refuse(&*service.catalog, job, cause.into()).await;
    refused.unwrap();
    let ended = following.await.unwrap().unwrap();
    assert_eq!(ended.job.state, JobState::Failed);
    assert!(ended.problem.unwrap().is("VaultNotFound"));
    assert_eq!(told.lock().unwrap()[0], JobState::Queued);

    let unknown = client.follow(JobId::generate(), |_| {}).await.unwrap_err();
    assert!(unknown.is("JobNotFound"), "{unknown}");
    port.close().await;
}

#[tokio::test]
async fn a_stream_that_breaks_goes_on_after_the_last_event() {
    let view = |id: JobId| JobView {
        id,
        kind: tresor_model::JobKind::Verify,
        subject: "main".to_owned(),
        state: JobState::Queued,
        lane: None,
        created_at: Timestamp::UNIX_EPOCH,
        cancel_requested: false,
        progress: None,
    };
    let event = |number: u32, id| {
        let job = serde_json::json!({ "job": view(id), "sub_task": null });
        format!("id: g-{number}\nevent: job\ndata: {job}\n\n")
    };
    let (one, two) = (JobId::generate(), JobId::generate());
    let half = event(2, two);
    let (begun, _) = half.split_at(half.len() / 2);
    let script = Script::new([
        Says::Cut(format!(": hello\n\n{}{begun}", event(1, one))),
        Says::Lost,
        Says::This(200, Vec::new(), event(2, two)),
        Says::This(200, Vec::new(), "event: reset\ndata: {}\n\n".to_owned()),
        Says::This(
            200,
            Vec::new(),
            "event: later-version\ndata: x\n\nevent: item-removed\ndata: {}\n\n".to_owned(),
        ),
    ]);
    let mut events = script.client().events();
    for expected in [one, two] {
        match events.next().await.unwrap() {
            News::Job(news) => assert_eq!(news.job.id, expected),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(events.last_id(), Some("g-2"));
    assert_eq!(events.next().await.unwrap(), News::Reset);
    assert!(events.next().await.unwrap_err().is("ServerAnswerUnusable"));
    let resumed = |id: &str| Some(id.to_owned());
    let asked = script.header("last-event-id");
    assert_eq!(asked[..3], [None, resumed("g-1"), resumed("g-1")]);
    assert_eq!(asked[3..], [resumed("g-2"), resumed("g-2")]);
}
