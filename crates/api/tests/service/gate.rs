//! Who may pass: every endpoint, with no token and with each role.

use std::collections::BTreeSet;

use axum::{body::Body, http::Request};
use jiff::{SignedDuration, Timestamp};
use tresor_api::{ApiOptions, ENDPOINTS, Endpoint, Needs, document};
use tresor_catalog::TokenRole;
use tresor_identity::{Role, may};

use super::support::Service;

/// What tells nothing of an installation, and needs nobody.
const OPEN: [&str; 1] = ["/api/v1/openapi.json"];

#[test]
fn the_document_and_the_table_have_the_same_endpoints() {
    let document = serde_json::to_value(document()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| (path.clone(), method.to_uppercase()))
        })
        .collect();
    let rows = ENDPOINTS
        .iter()
        .map(|row| (row.path.to_owned(), row.method.to_owned()));
    assert_eq!(rows.collect::<BTreeSet<_>>(), described);
    assert_eq!(described.len(), ENDPOINTS.len(), "no row is there twice");
}

#[tokio::test]
async fn every_endpoint_is_open_to_whom_the_matrix_says() {
    let service = Service::new().await;
    let roles = [
        (Role::Admin, TokenRole::Admin),
        (Role::Operator, TokenRole::Operator),
        (Role::Reader, TokenRole::Reader),
    ];
    for endpoint in ENDPOINTS {
        let Needs::Action(action) = endpoint.needs else {
            assert!(OPEN.contains(&endpoint.path), "{endpoint:?}");
            assert_eq!(ask(&service, endpoint, None).await, 200);
            continue;
        };
        assert_eq!(ask(&service, endpoint, None).await, 401, "{endpoint:?}");
        for (role, of_token) in roles {
            let token = service.token(of_token).await;
            let status = ask(&service, endpoint, Some(&token)).await;
            match may(role, action) {
                // What is named is not there and the body is empty; but it was let in, and found.
                true => assert!(
                    ![401, 403, 405, 500].contains(&status),
                    "{role}, {endpoint:?}: {status}"
                ),
                false => assert_eq!(status, 403, "{role}, {endpoint:?}"),
            }
        }
    }
}

/// Only the status: the event stream has no end.
async fn ask(service: &Service, endpoint: &Endpoint, token: Option<&str>) -> u16 {
    use tower::ServiceExt as _;
    let nobody = uuid::Uuid::nil().to_string();
    let path = ["{vm}", "{id}", "{name}", "{code}", "{vault}", "{point}"]
        .iter()
        .fold(endpoint.path.to_owned(), |path, place| {
            path.replace(place, &nobody)
        });
    let mut request = Request::builder().method(endpoint.method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Body::empty()).expect("request");
    let answer = service
        .router
        .clone()
        .oneshot(request)
        .await
        .expect("answer");
    answer.status().as_u16()
}

#[tokio::test]
async fn a_token_that_is_none_or_is_over_opens_nothing() {
    let service = Service::new().await;
    let past = Timestamp::now() - SignedDuration::from_secs(1);
    let (_, expired) = service.token_until(TokenRole::Admin, Some(past)).await;
    let (revoked_id, revoked) = service.token_until(TokenRole::Admin, None).await;
    let revoke = service.catalog.revoke_token(revoked_id, Timestamp::now());
    revoke.await.unwrap();
    let elsewhere = Service::new().await.token(TokenRole::Admin).await;
    for token in ["", "x", &"a".repeat(9000), &expired, &revoked, &elsewhere] {
        let answer = service.get(token, "/api/v1/vaults").await;
        answer.is(401, "ApiTokenInvalid");
        assert!(answer.headers.contains_key("www-authenticate"));
        assert!(!answer.text.contains("detail"), "{answer:?}");
    }
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let options = ApiOptions {
        burst: 3,
        per_second: 0,
        ..ApiOptions::default()
    };
    let service = Service::with(options).await;
    let (one, two) = (
        service.token(TokenRole::Reader).await,
        service.token(TokenRole::Reader).await,
    );
    for _ in 0..3 {
        service.get(&one, "/api/v1/vaults").await.ok(200);
    }
    let refused = service.get(&one, "/api/v1/vaults").await;
    refused.is(429, "TooManyRequests");
    assert_eq!(refused.headers["retry-after"], "1");
    service.get(&two, "/api/v1/vaults").await.ok(200);
}

#[tokio::test]
async fn what_is_not_there_and_what_cannot_be_done_with_it_is_said() {
    let service = Service::new().await;
    let token = service.token(TokenRole::Admin).await;
    let nothing = service.get(&token, "/api/v1/nothing").await;
    nothing.is(404, "ObjectNotFound");
    let method = ("DELETE", "/api/v1/vaults");
    let refused = service
        .change(&token, method, &serde_json::Value::Null, &[])
        .await;
    refused.is(405, "RequestMalformed");
    assert_eq!(refused.headers["allow"], "GET");
    assert_eq!(refused.headers["x-content-type-options"], "nosniff");
}
