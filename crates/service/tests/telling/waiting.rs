//! A server that is away and comes back, one that stays away, and several processes that send.

use serde_json::{Value, json};
use tresor_testkit::sinks::{Answering, HttpSink};

use super::support::{catalog, channel, ids, later, open_alerts, sending, tell, waits};

#[tokio::test]
async fn a_server_that_is_away_gets_everything_at_once_when_it_is_back() {
    let directory = tempfile::tempdir().expect("directory");
    let catalog = catalog(directory.path()).await;
    let sink = HttpSink::start().await.expect("sink");
    let (url, port) = (sink.url().to_owned(), sink.port());
    drop(sink);
    channel(&catalog, "ops", &url, &json!({})).await;
    let told = [
        tell(&catalog, "ops", "web01").await.to_string(),
        tell(&catalog, "ops", "web02").await.to_string(),
    ];
    let sending = sending(&catalog);
    sending.send_due(later(0)).await.expect("tried");
    let failing = catalog.channel("ops").await.expect("channel");
    assert!(failing.failing_since.is_some() && failing.failure.is_some());
    assert_eq!(open_alerts(&catalog).await, [], "a restart is no alert");
    sending.send_due(later(0)).await.expect("tried");
    assert_eq!(waits(&catalog).await, 2);

    let sink = HttpSink::start_at(port).await.expect("the port is free");
    sending.send_due(later(3600)).await.expect("sent");
    let heard = sink.heard();
    assert_eq!(heard.len(), 1, "told together");
    assert_eq!(ids(&heard[0].body), told);
    assert_eq!(waits(&catalog).await, 0);
    let works = catalog.channel("ops").await.expect("channel");
    assert!(works.last_sent_at.is_some() && works.failure.is_none());
}

#[tokio::test]
async fn a_channel_that_stays_away_is_an_alert_told_by_others_and_then_given_up() {
    let directory = tempfile::tempdir().expect("directory");
    let catalog = catalog(directory.path()).await;
    let (broken, good) = (
        HttpSink::start().await.expect("sink"),
        HttpSink::start().await.expect("sink"),
    );
    broken.answer(Answering::Status(500));
    channel(&catalog, "broken", broken.url(), &json!({})).await;
    channel(&catalog, "good", good.url(), &json!({})).await;
    tell(&catalog, "broken", "web01").await;
    let sending = sending(&catalog);
    for hour in 0..6 {
        sending.send_due(later(hour * 3700)).await.expect("tried");
    }
    let alerts = open_alerts(&catalog).await;
    let alert = alerts.first().expect("an alert");
    assert_eq!(
        (alert.subject.as_str(), alert.problem.code.as_str()),
        ("channel:broken", "NotificationFailed")
    );
    assert!(alert.problem.cause.contains("500"), "{alert:?}");
    sending.send_due(later(6 * 3700)).await.expect("tried");
    let heard = good.heard();
    assert_eq!(heard.len(), 1, "the other one tells of it, once");
    let body: Value = serde_json::from_str(&heard[0].body).expect("JSON");
    assert_eq!(body["events"][0]["event"], "alert_opened");

    for hour in 7..40 {
        sending.send_due(later(hour * 3700)).await.expect("tried");
    }
    assert_eq!(broken.heard().len(), 30, "bounded");
    assert_eq!(waits(&catalog).await, 0, "given up");
    assert_eq!(open_alerts(&catalog).await.len(), 1, "and told");

    broken.answer(Answering::Status(200));
    tell(&catalog, "broken", "web02").await;
    sending.send_due(later(0)).await.expect("sent");
    assert_eq!(open_alerts(&catalog).await, []);
    sending.send_due(later(10)).await.expect("sent");
    let heard = good.heard();
    let last: Value = serde_json::from_str(&heard.last().expect("told").body).expect("JSON");
    assert_eq!(last["events"][0]["event"], "alert_resolved");
}

#[tokio::test]
async fn two_processes_send_each_thing_once() {
    let directory = tempfile::tempdir().expect("directory");
    let sink = HttpSink::start().await.expect("sink");
    let (one, two) = (
        catalog(directory.path()).await,
        catalog(directory.path()).await,
    );
    channel(&one, "ops", sink.url(), &json!({})).await;
    let mut told = Vec::new();
    for number in 0..40 {
        told.push(tell(&one, "ops", &format!("vm{number}")).await.to_string());
    }
    let (first, second) = (sending(&one), sending(&two));
    let at = later(0);
    let (first, second) = tokio::join!(first.send_due(at), second.send_due(at));
    first.and(second).expect("sent");
    let mut heard: Vec<_> = sink
        .heard()
        .iter()
        .flat_map(|heard| ids(&heard.body))
        .collect();
    heard.sort();
    told.sort();
    assert_eq!(heard, told);
}

#[tokio::test]
async fn what_nobody_understands_is_given_up_and_the_rest_is_sent() {
    let directory = tempfile::tempdir().expect("directory");
    let catalog = catalog(directory.path()).await;
    let sink = HttpSink::start().await.expect("sink");
    channel(&catalog, "ops", sink.url(), &json!({})).await;
    tell(&catalog, "gone", "web01").await;
    tell(&catalog, "ops", "web02").await;
    sending(&catalog).send_due(later(0)).await.expect("sent");
    assert_eq!((sink.heard().len(), waits(&catalog).await), (1, 0));
}
