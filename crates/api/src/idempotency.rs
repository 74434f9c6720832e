//! `Idempotency-Key`: a change that is asked for twice is made once, and both get the same answer.

use std::sync::atomic::Ordering;

use axum::{
    Json,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tresor_catalog::Begun;
use tresor_problem::Kind;

use crate::{
    ApiState, Endpoint, Principal, body,
    failure::{Answer, Failure},
};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const LONGEST_KEY: usize = 200;
/// Answers of changes are short.
const LONGEST_ANSWER: usize = 4 << 20;
/// Keys are kept so long.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
const FORGET_EVERY_S: i64 = 3600;
/// What an answer says besides its body.
const HEADERS: [HeaderName; 2] = [header::ETAG, header::LOCATION];

/// An answer, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    status: u16,
    headers: Vec<(String, String)>,
    body: Value,
}

/// Lets a request through, or gives the answer of the one before it.
pub(crate) async fn once(
    state: &ApiState,
    who: &Principal,
    endpoint: &Endpoint,
    request: Request,
    next: Next,
) -> Response {
    let changes = [Method::POST, Method::PUT, Method::DELETE].contains(request.method());
    let key = match key_of(request.headers()) {
        Ok(Some(key)) if changes => key,
        Ok(_) => return next.run(request).await,
        Err(failure) => return failure.into_response(),
    };
    if endpoint.secret {
        let what = "The answer has a secret that is not kept: it takes no Idempotency-Key.";
        return Failure::malformed(what).into_response();
    }
    let done = keyed(state, who, &key, request, next).await;
    done.unwrap_or_else(axum::response::IntoResponse::into_response)
}

async fn keyed(
    state: &ApiState,
    who: &Principal,
    key: &str,
    request: Request,
    next: Next,
) -> Answer<Response> {
    let (parts, body) = request.into_parts();
    let body = body::read(body).await?;
    let fingerprint = fingerprint(&parts, &body);
    let now = Timestamp::now();
    forget_old(state, now).await;
    let begun = state
        .catalog
        .begin_request(&who.name, key, &fingerprint, now);
    match begun.await? {
        Begun::New => {}
        Begun::InProgress => {
            let key = key.to_owned();
            return Err(Kind::RequestInProgress { key }.into());
        }
        Begun::Mismatch => {
            let key = key.to_owned();
            return Err(Kind::RequestKeyReused { key }.into());
        }
        Begun::Done(answer) => return again(answer),
    }
    let request = Request::from_parts(parts, Body::from(body));
    let response = next.run(request).await;
    if response.status().is_server_error() {
        // It may succeed the next time.
        state.catalog.forget_request(&who.name, key).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, LONGEST_ANSWER).await;
    let whole = whole.map_err(|error| Kind::Internal {
        what: format!("An answer could not be kept: {error}."),
    })?;
    let kept = Kept {
        status: parts.status.as_u16(),
        headers: headers_of(&parts.headers),
        body: serde_json::from_slice(&whole).unwrap_or_default(),
    };
    let kept = serde_json::to_value(kept).unwrap_or_default();
    state.catalog.finish_request(&who.name, key, &kept).await?;
    Ok(Response::from_parts(parts, Body::from(whole)))
}

fn key_of(headers: &HeaderMap) -> Answer<Option<String>> {
    let Some(value) = headers.get(KEY) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > LONGEST_KEY || !plain {
        let what = format!("An Idempotency-Key is 1 to {LONGEST_KEY} visible ASCII characters.");
        return Err(Failure::malformed(what));
    }
    Ok(Some(text.to_owned()))
}

/// What makes a request the same request.
fn fingerprint(parts: &axum::http::request::Parts, body: &[u8]) -> String {
    let condition = |name| {
        parts
            .headers
            .get(name)
            .map_or(&b""[..], HeaderValue::as_bytes)
    };
    // Not the name by which the service was reached: HTTP/2 has it in the URI.
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let mut hasher = blake3::Hasher::new();
    for part in [
        parts.method.as_str().as_bytes(),
        path.as_bytes(),
        condition(header::IF_MATCH),
        condition(header::IF_NONE_MATCH),
        body,
    ] {
        // Lengths first, so that nothing moves from one part to the next.
        hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_string()
}

fn headers_of(headers: &HeaderMap) -> Vec<(String, String)> {
    let kept = HEADERS.iter().filter_map(|name| {
        let value = headers.get(name)?.to_str().ok()?;
        Some((name.to_string(), value.to_owned()))
    });
    kept.collect()
}

fn again(answer: Value) -> Answer<Response> {
    let damaged = |error: serde_json::Error| Kind::Internal {
        what: format!("The answer that was kept cannot be read: {error}."),
    };
    let kept: Kept = serde_json::from_value(answer).map_err(damaged)?;
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let mut response = match kept.body {
        Value::Null => status.into_response(),
        body => (status, Json(body)).into_response(),
    };
    for (name, value) in kept.headers {
        let name = HeaderName::try_from(name).ok();
        if let Some((name, value)) = name.zip(HeaderValue::try_from(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// Now and then, keys of long ago are forgotten.
async fn forget_old(state: &ApiState, now: Timestamp) {
    let forgotten_at = &state.forgotten_at;
    let last = forgotten_at.load(Ordering::Relaxed);
    if now.as_second() - last < FORGET_EVERY_S {
        return;
    }
    forgotten_at.store(now.as_second(), Ordering::Relaxed);
    let before = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    if let Err(error) = state.catalog.forget_requests_before(before).await {
        tracing::warn!(%error, "old idempotency keys could not be forgotten");
    }
}
