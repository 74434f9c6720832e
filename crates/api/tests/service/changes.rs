//! Changes: protecting, policies, jobs, keys of requests, and what the audit log has of them.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tresor_api::{Access, ApiOptions, Principal};
use tresor_catalog::TokenRole;
use tresor_jobs::{JobLog as _, JobQueue as _};
use tresor_model::JobState;
use tresor_problem::Problem;
use tresor_workflows::backup::{BackupCause, BackupOrder};

use super::support::{Answered, Service};

const NOTHING: Value = Value::Null;

#[tokio::test]
async fn a_vm_is_protected_stopped_and_resumed_and_the_audit_log_has_it() {
    let service = Service::new().await;
    let operator = service.token(TokenRole::Operator).await;
    let admin = service.token(TokenRole::Admin).await;
    let vm = service.vm("web01").await;
    let path = format!("/api/v1/items/{vm}");
    let told = Arc::clone(&service.changed);
    let nightly = json!({ "policy": "nightly" });
    let made = service
        .change(&operator, ("PUT", &path), &nightly, &[])
        .await;
    assert_eq!(made.ok(200)["standing"], "waiting");
    told.notified().await; // was told
    // Again the same is nothing new; another policy is the administrator's.
    let again = service.change(&operator, ("PUT", &path), &nightly, &[]);
    again.await.ok(200);
    let hourly = json!({ "policy": "hourly" });
    let refused = service
        .change(&operator, ("PUT", &path), &hourly, &[])
        .await;
    refused.is(403, "PermissionDenied");
    let changed = service.change(&admin, ("PUT", &path), &hourly, &[]).await;
    assert_eq!(changed.ok(200)["policy"], "hourly");

    let stop = format!("{path}/stop");
    let stopped = service.change(&admin, ("POST", &stop), &NOTHING, &[]).await;
    assert_eq!(stopped.ok(200)["standing"], "stopped");
    let backup = format!("{path}/backup");
    let refused = service.change(&operator, ("POST", &backup), &NOTHING, &[]);
    refused.await.is(409, "ProtectionStopped");
    let resume = format!("{path}/resume");
    let resumed = service.change(&operator, ("POST", &resume), &NOTHING, &[]);
    assert_eq!(resumed.await.ok(200)["state"], "protected");

    let audit = format!("/api/v1/audit?object=item:{vm}");
    let audit = service.get(&admin, &audit).await.ok(200);
    let entry = |number: usize| &audit["items"][number];
    assert_eq!(entry(1)["action"], "items.stop");
    assert_eq!(entry(1)["before"]["state"], "protected");
    assert_eq!(entry(1)["after"]["state"], "stopped-kept");
    assert_eq!(entry(2)["action"], "items.change");
    assert_eq!(entry(2)["before"]["policy"], "nightly");
    assert!(entry(4)["before"].is_null());
    assert_eq!(audit["items"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_protected() {
    let service = Service::new().await;
    let admin = service.token(TokenRole::Admin).await;
    let vm = service.vm("web01").await;
    let path = format!("/api/v1/items/{vm}");
    let put = |path: String, body: Value| {
        let (service, admin) = (&service, &admin);
        async move { service.change(admin, ("PUT", &path), &body, &[]).await }
    };
    let unknown = put(path.clone(), json!({ "policy": "none" })).await;
    unknown.is(404, "ObjectNotFound");
    let slip = put(path, json!({ "polizy": "nightly" })).await;
    slip.is(400, "RequestMalformed");
    let nobody = format!("/api/v1/items/{}", uuid::Uuid::nil());
    put(nobody, json!({ "policy": "nightly" }))
        .await
        .is(404, "VmNotFound");
    assert!(service.get(&admin, "/api/v1/audit").await.ok(200)["items"] == json!([]));
}

#[tokio::test]
async fn a_backup_that_is_asked_for_waits_in_the_queue_once() {
    let service = Service::new().await;
    let operator = service.token(TokenRole::Operator).await;
    let vm = service.vm("web01").await;
    let now = jiff::Timestamp::now();
    service.catalog.protect(vm, "nightly", now).await.unwrap();
    let path = format!("/api/v1/items/{vm}/backup");
    let answer = service
        .change(&operator, ("POST", &path), &NOTHING, &[])
        .await;
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    let job = answer.ok(202);
    assert_eq!(
        (&job["state"], &job["lane"]),
        (&json!("queued"), &json!("local"))
    );
    let due = service.catalog.due("local", jiff::Timestamp::now(), 10);
    let due = due.await.unwrap();
    let order = BackupOrder::of_params(&due[0].job.params).unwrap();
    assert_eq!((order.vm, order.cause), (vm, BackupCause::Asked));
    assert_eq!(due[0].job.lock, Some(order.lock()));
    let second = service
        .change(&operator, ("POST", &path), &NOTHING, &[])
        .await;
    second.is(409, "VmBusy");

    let detail = service.get(&operator, &location).await.ok(200);
    assert!(detail["queued_s"].is_null());
    assert_eq!(detail["sub_tasks"][1]["name"], "Take snapshot");
    assert_eq!(detail["sub_tasks"][1]["state"], "pending");
    let cancel = format!("{location}/cancel");
    let cancelled = service.change(&operator, ("POST", &cancel), &NOTHING, &[]);
    assert_eq!(cancelled.await.ok(202)["cancel_requested"], true);
    // The one that waits will only be ended.
    let third = service.change(&operator, ("POST", &path), &NOTHING, &[]);
    third.await.ok(202);
    let filter = "/api/v1/jobs?kind=backup&state=queued&lane=local&subject=web01";
    let listed = service.get(&operator, filter).await.ok(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let none = service.get(&operator, "/api/v1/jobs?state=failed").await;
    assert_eq!(none.ok(200)["items"], json!([]));
    let unknown = format!("/api/v1/jobs/{}", uuid::Uuid::nil());
    let unknown = service.get(&operator, &unknown).await;
    unknown.is(404, "JobNotFound");
}

#[tokio::test]
async fn a_job_that_failed_says_why_and_what_to_do() {
    let service = Service::new().await;
    let reader = service.token(TokenRole::Reader).await;
    let job = super::events::failed_job(&service.catalog, "web01").await;
    let path = format!("/api/v1/jobs/{job}");
    let detail = service.get(&reader, &path).await.ok(200);
    assert_eq!(detail["job"]["state"], "failed");
    assert_eq!(detail["problem"]["code"], "VmNotFound");
    assert!(detail["problem"]["remedy"][0].is_string());
    assert_eq!(detail["unwinding"], "failure");
    assert_eq!(detail["queued_s"], 7);
    let state = service.catalog.load(job).await.unwrap().header.state;
    assert_eq!(state, JobState::Failed);
}

#[tokio::test]
async fn a_policy_is_changed_by_who_has_seen_the_one_before() {
    let service = Service::new().await;
    let admin = service.token(TokenRole::Admin).await;
    let path = "/api/v1/policies/mine";
    let put = async |tries: u32, headers: &[(&str, &str)]| -> Answered {
        let body = json!({
            "name": "mine", "schedules": [{ "calendar": "22:00" }], "retry": { "tries": tries },
        });
        service.change(&admin, ("PUT", path), &body, headers).await
    };
    let made = put(4, &[]).await;
    assert_eq!(made.headers["etag"], "\"1\"");
    made.ok(201);
    put(5, &[]).await.is(428, "RevisionNeeded");
    put(5, &[("if-match", "1")])
        .await
        .is(400, "RequestMalformed");
    let changed = put(5, &[("if-match", "\"1\"")]).await;
    assert_eq!(changed.headers["etag"], "\"2\"");
    assert_eq!(changed.ok(200)["policy"]["retry"]["tries"], 5);
    put(6, &[("if-match", "\"1\"")])
        .await
        .is(412, "ObjectChanged");

    let wrong = json!({
        "name": "other", "schedules": [{ "calendar": "22:00", "window": "1s" }], "retry": { "tries": 0 },
    });
    let refused = service.change(&admin, ("PUT", path), &wrong, &[]).await;
    refused.is(422, "PolicyInvalid");
    let errors = refused.json()["errors"].clone();
    let fields: Vec<_> = errors.as_array().unwrap().iter().collect();
    let fields: Vec<_> = fields.iter().map(|error| error["field"].as_str()).collect();
    assert_eq!(
        fields,
        [
            Some("name"),
            Some("schedules[0].window"),
            Some("retry.tries")
        ]
    );
    let slip = json!({ "name": "mine", "schedules": [{ "calendar": "never o'clock" }] });
    let refused = service.change(&admin, ("PUT", path), &slip, &[]).await;
    refused.is(422, "PolicyInvalid");
    assert_eq!(
        refused.json()["errors"][0]["field"],
        "schedules[0].calendar"
    );

    let vm = service.vm("web01").await;
    let now = jiff::Timestamp::now();
    service.catalog.protect(vm, "mine", now).await.unwrap();
    let used = service
        .change(&admin, ("DELETE", path), &NOTHING, &[])
        .await;
    used.is(409, "ObjectInUse");
    service.catalog.remove_item(vm).await.unwrap();
    let gone = service
        .change(&admin, ("DELETE", path), &NOTHING, &[])
        .await;
    assert_eq!(gone.status, 204);
    service.get(&admin, path).await.is(404, "ObjectNotFound");
}

#[tokio::test]
async fn a_request_with_a_key_has_its_effect_once() {
    let service = Service::new().await;
    let operator = service.token(TokenRole::Operator).await;
    let other = service.token(TokenRole::Operator).await;
    let vm = service.vm("web01").await;
    let now = jiff::Timestamp::now();
    service.catalog.protect(vm, "nightly", now).await.unwrap();
    let path = format!("/api/v1/items/{vm}/backup");
    let key = [("idempotency-key", "k1")];
    let first = service
        .change(&operator, ("POST", &path), &NOTHING, &key)
        .await;
    let again = service
        .change(&operator, ("POST", &path), &NOTHING, &key)
        .await;
    assert_eq!(
        (again.status, &again.headers["location"]),
        (first.status, &first.headers["location"])
    );
    assert_eq!(first.ok(202), again.ok(202));
    // Of another principal it is another key, and the second job is refused.
    let others = service
        .change(&other, ("POST", &path), &NOTHING, &key)
        .await;
    others.is(409, "VmBusy");
    let resume = format!("/api/v1/items/{vm}/resume");
    let reused = service.change(&operator, ("POST", &resume), &NOTHING, &key);
    reused.await.is(422, "RequestKeyReused");
    let bad = [("idempotency-key", "a b")];
    let refused = service.change(&operator, ("POST", &resume), &NOTHING, &bad);
    refused.await.is(400, "RequestMalformed");
}

#[tokio::test]
async fn two_at_once_with_one_key_make_one_job() {
    let service = Service::new().await;
    let operator = service.token(TokenRole::Operator).await;
    let vm = service.vm("web01").await;
    let now = jiff::Timestamp::now();
    service.catalog.protect(vm, "nightly", now).await.unwrap();
    let path = format!("/api/v1/items/{vm}/backup");
    let key = [("idempotency-key", "k1")];
    let asked = (0..8).map(|_| service.change(&operator, ("POST", &path), &NOTHING, &key));
    let answers = futures::future::join_all(asked).await;
    for answer in answers {
        match answer.status.as_u16() {
            202 => {}
            _ => answer.is(409, "RequestInProgress"),
        }
    }
    let jobs = service.get(&operator, "/api/v1/jobs").await.ok(200);
    assert_eq!(jobs["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn bodies_are_bounded_and_must_be_json() {
    let service = Service::new().await;
    let admin = service.token(TokenRole::Admin).await;
    let path = ("PUT", "/api/v1/policies/mine");
    let long = json!("x".repeat(2 << 20));
    let refused = service.change(&admin, path, &long, &[]).await;
    refused.is(413, "RequestTooLarge");
    let keyed = service.change(&admin, path, &long, &[("idempotency-key", "k")]);
    keyed.await.is(413, "RequestTooLarge");
    let request = axum::http::Request::put("/api/v1/policies/mine")
        .header("authorization", format!("Bearer {admin}"));
    let request = request.body(axum::body::Body::from("name=x")).unwrap();
    service.send(request).await.is(415, "RequestMalformed");
}

/// Never knows who it is.
struct Dumb;

#[async_trait::async_trait]
impl Access for Dumb {
    async fn authenticate(&self, _: &str) -> Result<Principal, Problem> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_not_waited_for() {
    let options = ApiOptions {
        answer_limit: Duration::from_millis(1),
        ..ApiOptions::default()
    };
    let service = Service::behind(|_| Arc::new(Dumb), options).await;
    let reader = service.token(TokenRole::Reader).await;
    let answer = service.get(&reader, "/api/v1/vaults").await;
    answer.is(504, "RequestTimedOut");
}
