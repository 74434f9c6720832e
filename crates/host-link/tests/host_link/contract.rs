//! The suites of a job log and a queue, run by hosts through their desks.

use std::sync::atomic::Ordering;

use tokio::time::timeout;
use tresor_jobs::testing::{contract::check_log_of, queue::Lanes, queue::check_queue_of};

use crate::pair::{HANGS, Service};
use crate::postgres::Postgres;

async fn check(service: &Service) {
    let suite = async {
        let lane = service.lane().await;
        check_log_of(service, &lane, &*service.at(&lane)).await;
        check_queue_of(service).await;
    };
    timeout(HANGS, suite).await.unwrap();
    if let Some(cuts) = &service.cuts {
        assert!(cuts.lost.load(Ordering::SeqCst) > 30, "{cuts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_at_the_service_keeps_the_contract() {
    check(&Service::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_at_the_service_keeps_the_contract_on_postgresql() {
    let server = Postgres::start();
    check(&Service::on(server.catalog().await).await).await;
}

/// Of three requests one is carried out, and its answer never comes.
#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_change_nothing() {
    check(&Service::new().await.cutting()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_change_nothing_on_postgresql() {
    let server = Postgres::start();
    check(&Service::on(server.catalog().await).await.cutting()).await;
}
