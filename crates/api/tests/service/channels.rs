//! Channels: set up, tried, and their secrets never shown.

use serde_json::json;
use tresor_catalog::TokenRole;
use tresor_testkit::sinks::{Answering, HttpSink};

use super::support::Service;

#[tokio::test]
async fn a_channel_is_made_tried_and_removed_with_audit_and_without_its_secrets() {
    let service = Service::new().await;
    let admin = service.token(TokenRole::Admin).await;
    let sink = HttpSink::start().await.unwrap();
    let url = format!("{}/services/hush", sink.url());
    let channel = json!({"settings": {"way": {"webhook": {"url": url}}}, "secret": "open sesame"});
    let put = ("PUT", "/api/v1/channels/ops");
    let made = service.change(&admin, put, &channel, &[]).await.ok(200);
    assert_eq!(made["has_secret"], true);
    let test = ("POST", "/api/v1/channels/ops/test");
    let tested = service.change(&admin, test, &json!(null), &[]).await;
    assert_eq!(tested.status, 204, "{tested:?}");
    assert_eq!(sink.heard()[0].path, "/services/hush");
    sink.answer(Answering::Status(403));
    let refused = service.change(&admin, test, &json!(null), &[]).await;
    refused.is(502, "NotificationFailed");

    let listed = service.get(&admin, "/api/v1/channels").await;
    assert!(listed.ok(200)["items"][0]["last_sent_at"].is_string());
    let removed = service
        .change(&admin, ("DELETE", put.1), &json!(null), &[])
        .await;
    assert_eq!(removed.status, 204, "{removed:?}");
    let audit = service.get(&admin, "/api/v1/audit").await;
    let entries = audit.ok(200)["items"].as_array().unwrap().len();
    assert_eq!(entries, 4);
    for answer in [listed, refused, audit] {
        let text = &answer.text;
        assert!(!text.contains("hush") && !text.contains("sesame"), "{text}");
    }
}

#[tokio::test]
async fn a_channel_that_cannot_be_so_is_refused_by_field() {
    let service = Service::new().await;
    let admin = service.token(TokenRole::Admin).await;
    let hook = |url: &str| json!({"way": {"webhook": {"url": url}}});
    for (name, body, field) in [
        (
            "ops",
            json!({"settings": hook("file:///etc/passwd")}),
            "settings.url",
        ),
        (
            "a%20b",
            json!({"settings": hook("https://example.org")}),
            "name",
        ),
        (
            "ops",
            json!({"settings": hook("https://example.org"), "secret": ""}),
            "secret",
        ),
        (
            "ops",
            json!({"settings": {"way": {"pigeon": {}}}}),
            "settings.way",
        ),
    ] {
        let path = format!("/api/v1/channels/{name}");
        let answer = service.change(&admin, ("PUT", &path), &body, &[]).await;
        answer.is(400, "RequestMalformed");
        let found = answer.json()["errors"][0]["field"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(found.starts_with(field), "{answer:?}");
    }
}
