//! A catalog with a channel that leads to a server of the test.

use std::{path::Path, sync::Arc};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use tresor_catalog::{
    AlertFilter, AlertRecord, Catalog, ChannelRecord, ChannelSecret, NotificationRecord, Page,
};
use tresor_model::NotificationId;
use tresor_problem::{Kind, Problem};
use tresor_service::Sending;

pub(crate) async fn catalog(directory: &Path) -> Arc<Catalog> {
    let catalog = Catalog::open(&directory.join("catalog.db")).await;
    Arc::new(catalog.expect("open"))
}

pub(crate) fn sending(catalog: &Arc<Catalog>) -> Arc<Sending> {
    Sending::new(Arc::clone(catalog), TimeZone::UTC).expect("authorities")
}

/// A webhook with more settings.
pub(crate) async fn channel(catalog: &Catalog, name: &str, url: &str, more: &Value) {
    let mut settings = json!({"way": {"webhook": {"url": url}}});
    let members = settings.as_object_mut().expect("members");
    members.extend(more.as_object().expect("members").clone());
    let channel = ChannelRecord {
        name: name.to_owned(),
        settings,
        secret: Some(ChannelSecret::new("key".to_owned())),
        created_at: Timestamp::now(),
        last_sent_at: None,
        failing_since: None,
        failure: None,
        digest_at: None,
    };
    catalog.set_channel(&channel, false).await.expect("channel");
}

/// Something to be told, as it is kept with an alert.
pub(crate) async fn tell(catalog: &Catalog, channel: &str, subject: &str) -> NotificationId {
    let problem = Problem::from(Kind::VmNotFound {
        vm: subject.to_owned(),
    });
    let id = NotificationId::generate();
    let now = Timestamp::now();
    let what = NotificationRecord {
        id,
        at: now,
        channel: channel.to_owned(),
        body: json!({"id": id, "at": now, "event": "backup_failed", "subject": subject, "problem": problem}),
        attempts: 0,
        not_before: now,
        sent_at: None,
        given_up_at: None,
    };
    catalog.add_notification(&what).await.expect("add");
    id
}

pub(crate) fn later(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

pub(crate) async fn waits(catalog: &Catalog) -> u64 {
    let waiting = catalog.waiting_notifications().await.expect("waiting");
    waiting.iter().map(|(_, number)| number).sum()
}

pub(crate) async fn open_alerts(catalog: &Catalog) -> Vec<AlertRecord> {
    let filter = AlertFilter {
        open: true,
        ..AlertFilter::default()
    };
    let alerts = catalog.alerts(&filter, &Page::default()).await;
    alerts.expect("alerts")
}

/// The ids of the events in a body.
pub(crate) fn ids(body: &str) -> Vec<String> {
    let body: Value = serde_json::from_str(body).expect("JSON");
    let events = body["events"].as_array().expect("events").iter();
    events
        .map(|event| event["id"].as_str().expect("id").to_owned())
        .collect()
}
