//! Channels, and what is told with an alert or not at all.

use serde_json::json;
use tresor_catalog::{
    AlertRecord, Catalog, CatalogErrorKind, ChannelRecord, ChannelSecret, NotificationRecord,
    Object,
};
use tresor_model::NotificationId;
use tresor_problem::{Kind, Problem};

use super::{kind, now, seconds};

pub(super) async fn check(catalog: &Catalog) {
    channels(catalog).await;
    digests(catalog).await;
    told_with_the_alert_or_not_at_all(catalog).await;
}

fn channel(name: &str) -> ChannelRecord {
    ChannelRecord {
        name: name.to_owned(),
        settings: json!({"kind": "webhook", "url": "https://it's"}),
        secret: Some(ChannelSecret::new("hush".to_owned())),
        created_at: now(),
        last_sent_at: None,
        failing_since: None,
        failure: None,
        digest_at: None,
    }
}

fn told(channel: &str, subject: &str) -> NotificationRecord {
    NotificationRecord {
        id: NotificationId::generate(),
        at: now(),
        channel: channel.to_owned(),
        body: json!(subject),
        attempts: 0,
        not_before: now(),
        sent_at: None,
        given_up_at: None,
    }
}

async fn waiting(catalog: &Catalog, channel: &str) -> u64 {
    let all = catalog.waiting_notifications().await.expect("waiting");
    let mut of_channel = all.into_iter().filter(|(name, _)| name == channel);
    of_channel.next().map_or(0, |(_, number)| number)
}

async fn channels(catalog: &Catalog) {
    let ops = channel("ops");
    catalog.set_channel(&ops, false).await.expect("add");
    let again = catalog.set_channel(&ops, false).await;
    let taken = CatalogErrorKind::AlreadyExists(Object::Channel);
    assert_eq!(kind(again), taken);
    assert_eq!(
        catalog.channels().await.expect("list"),
        std::slice::from_ref(&ops)
    );
    assert!(!format!("{ops:?}").contains("hush"));

    let (first, second) = (now(), now() + seconds(5));
    for at in [first, second] {
        let noted = catalog.note_channel("ops", at, Some("refused")).await;
        noted.expect("note");
    }
    let failing = catalog.channel("ops").await.expect("show");
    assert_eq!(failing.failing_since, Some(first));
    assert_eq!(failing.failure.as_deref(), Some("refused"));
    let noted = catalog.note_channel("ops", second, None).await;
    noted.expect("note");
    let works = catalog.channel("ops").await.expect("show");
    assert_eq!((works.last_sent_at, works.failure), (Some(second), None));

    let other = ChannelRecord {
        secret: None,
        ..channel("ops")
    };
    catalog.set_channel(&other, true).await.expect("replace");
    let replaced = catalog.channel("ops").await.expect("show");
    assert_eq!(
        (replaced.secret, replaced.created_at),
        (None, ops.created_at)
    );
    let waits = told("ops", "x");
    catalog.add_notification(&waits).await.expect("add");
    catalog.remove_channel("ops").await.expect("remove");
    assert_eq!(waiting(catalog, "ops").await, 0, "what was to go by it");
    let missing = CatalogErrorKind::NotFound(Object::Channel);
    assert_eq!(kind(catalog.remove_channel("ops").await), missing);
    assert_eq!(kind(catalog.channel("ops").await), missing);
}

async fn digests(catalog: &Catalog) {
    catalog
        .set_channel(&channel("daily"), false)
        .await
        .expect("add");
    let moment = now();
    let add = async |moment| {
        let added = catalog.add_digest(&told("daily", "sum"), moment).await;
        added.expect("digest")
    };
    assert!(add(moment).await);
    assert!(!add(moment).await, "another process was faster");
    assert!(!add(moment - seconds(60)).await);
    assert!(add(moment + seconds(60)).await);
    assert_eq!(waiting(catalog, "daily").await, 2);
}

async fn told_with_the_alert_or_not_at_all(catalog: &Catalog) {
    let gone = |vm: &str| Problem::from(Kind::VmNotFound { vm: vm.to_owned() });
    let tell = |alerts: &[AlertRecord]| {
        let told = alerts.iter().map(|alert| told("told", &alert.subject));
        told.collect::<Vec<_>>()
    };
    let both = [("a".to_owned(), gone("a")), ("b".to_owned(), gone("b"))];
    let opened = catalog.raise_telling(&both, now(), &tell).await;
    assert_eq!(opened.expect("raise").len(), 2);
    let opened = catalog.raise_telling(&both, now(), &tell).await;
    assert_eq!(opened.expect("raise"), [], "they are open already");
    assert_eq!(waiting(catalog, "told").await, 2);
    let over = catalog.resolve_telling("a", None, now(), &tell).await;
    assert_eq!(over.expect("resolve").len(), 1);
    let over = catalog.resolve_telling("a", None, now(), &tell).await;
    assert_eq!(over.expect("resolve"), []);
    assert_eq!(waiting(catalog, "told").await, 3);
    let open = catalog.open_alerts().await.expect("open");
    assert!(open.contains(&("VmNotFound".to_owned(), 2)), "{open:?}");

    // What cannot be told leaves no alert behind.
    let known = told("told", "x");
    catalog.add_notification(&known).await.expect("add");
    let refused = [("c".to_owned(), gone("c"))];
    let telling = |_: &[AlertRecord]| vec![known.clone()];
    let raised = catalog.raise_telling(&refused, now(), &telling).await;
    let taken = CatalogErrorKind::AlreadyExists(Object::Notification);
    assert_eq!(kind(raised), taken);
    let of_c = tresor_catalog::AlertFilter {
        subject: Some("c".to_owned()),
        open: true,
    };
    let page = tresor_catalog::Page::default();
    assert_eq!(catalog.alerts(&of_c, &page).await.expect("alerts"), []);
}
