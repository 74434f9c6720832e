//! Requests that come twice, and notifications.

use futures::future::join_all;
use serde_json::json;
use tresor_catalog::{Begun, Catalog, CatalogErrorKind, NotificationRecord, Object};
use tresor_model::NotificationId;

use super::{kind, now, seconds};

pub(super) async fn check(one: &Catalog, two: &Catalog) {
    requests(one).await;
    one_of_eight_is_new(one, two).await;
    notifications(one).await;
}

async fn requests(catalog: &Catalog) {
    let at = now();
    let begin = async |principal: &str, key: &str, print: &str, at| {
        let begun = catalog.begin_request(principal, key, print, at).await;
        begun.expect("begin")
    };
    assert_eq!(begin("ci", "k1", "post /a", at).await, Begun::New);
    assert_eq!(begin("ci", "k1", "post /a", at).await, Begun::InProgress);
    assert_eq!(begin("ci", "k1", "post /b", at).await, Begun::Mismatch);
    assert_eq!(begin("me", "k1", "post /b", at).await, Begun::New);
    let answer = json!({"status": 201, "text": "it's"});
    let finished = catalog.finish_request("ci", "k1", &answer).await;
    finished.expect("finish");
    let done = Begun::Done(answer.clone());
    assert_eq!(begin("ci", "k1", "post /a", at).await, done);
    assert_eq!(begin("ci", "k1", "post /b", at).await, Begun::Mismatch);
    let missing = CatalogErrorKind::NotFound(Object::Request);
    let again = catalog.finish_request("ci", "k1", &json!(1)).await;
    assert_eq!(kind(again), missing, "the first answer stays");
    assert_eq!(kind(catalog.forget_request("ci", "k1").await), missing);
    assert_eq!(begin("ci", "k1", "post /a", at).await, done);
    catalog.forget_request("me", "k1").await.expect("forget");
    let unknown = catalog.finish_request("me", "k1", &answer).await;
    assert_eq!(kind(unknown), missing);

    let later = at + seconds(60);
    assert_eq!(begin("ci", "k2", "post /a", later).await, Begun::New);
    let forgotten = catalog.forget_requests_before(later).await;
    assert_eq!(forgotten.expect("forget"), 1);
    assert_eq!(begin("ci", "k2", "post /a", later).await, Begun::InProgress);
    assert_eq!(begin("ci", "k1", "post /b", later).await, Begun::New);
}

async fn one_of_eight_is_new(one: &Catalog, two: &Catalog) {
    for round in 0..10 {
        let key = format!("race {round}");
        let attempts = (0..8).map(|number| {
            let catalog = if number % 2 == 0 { one } else { two };
            catalog.begin_request("race", &key, "same", now())
        });
        let begun = join_all(attempts).await.into_iter();
        let new = begun.filter(|begun| match begun {
            Ok(Begun::New) => true,
            Ok(Begun::InProgress) => false,
            other => panic!("{other:?}"),
        });
        assert_eq!(new.count(), 1);
    }
}

async fn notifications(catalog: &Catalog) {
    let at = now();
    let new = |wait_s| NotificationRecord {
        id: NotificationId::generate(),
        at,
        channel: "mail".to_owned(),
        body: json!({"subject": "it's full"}),
        attempts: 0,
        not_before: at + seconds(wait_s),
        sent_at: None,
        given_up_at: None,
    };
    let (mut first, later, second) = (new(0), new(60), new(0));
    for each in [&first, &later, &second] {
        catalog.add_notification(each).await.expect("add");
    }
    let taken = CatalogErrorKind::AlreadyExists(Object::Notification);
    assert_eq!(kind(catalog.add_notification(&first).await), taken);
    let due = async |after_s, limit| {
        let due = catalog
            .due_notifications(at + seconds(after_s), limit)
            .await;
        due.expect("due")
    };
    assert_eq!(due(-1, 9).await, []);
    assert_eq!(due(0, 9).await, [first.clone(), second.clone()]);
    assert_eq!(due(0, 1).await, [first.clone()]);
    let retry = at + seconds(30);
    let claim = async |seen: &NotificationRecord| {
        let claimed = catalog.claim_notification(seen, at + seconds(20)).await;
        claimed.expect("claim")
    };
    assert!(claim(&first).await, "it is free");
    assert!(!claim(&first).await, "somebody else was faster");
    let failed = catalog.note_send_failed(first.id, retry).await;
    failed.expect("failed");
    (first.attempts, first.not_before) = (1, retry);
    catalog.note_sent(second.id, at).await.expect("sent");
    assert_eq!(due(30, 9).await, [first.clone()]);
    assert_eq!(due(60, 9).await, [first.clone(), later]);

    // One that was sent stays sent, since then.
    let missing = CatalogErrorKind::NotFound(Object::Notification);
    let failed = catalog.note_send_failed(second.id, retry).await;
    assert_eq!(kind(failed), missing);
    catalog.note_sent(second.id, retry).await.expect("sent");
    catalog.note_sent(first.id, retry).await.expect("sent");
    let nobody = NotificationId::generate();
    assert_eq!(kind(catalog.note_sent(nobody, at).await), missing);
    let forgotten = catalog.forget_sent_before(at + seconds(1)).await;
    assert_eq!(forgotten.expect("forget"), 1);
    assert_eq!(kind(catalog.note_sent(second.id, at).await), missing);
    catalog.note_sent(first.id, at).await.expect("it is kept");
    assert_eq!(
        kind(catalog.note_given_up(first.id, at).await),
        missing,
        "it was sent"
    );
    let late = due(60, 9).await;
    let given_up = catalog.note_given_up(late[0].id, at).await;
    given_up.expect("give up");
    assert_eq!(due(60, 9).await, []);
    assert!(!claim(&late[0]).await, "it was given up");
}
