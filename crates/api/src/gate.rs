//! The gate that every request of the API passes: who asks, how often, and whether they may.

use std::time::{Duration, Instant};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tresor_identity::may;
use tresor_problem::Kind;

use crate::{
    ApiState, Needs, Principal, endpoints,
    failure::{Answer, Failure},
    idempotency,
};

/// Whose failures to prove who they are share a bucket.
const NOBODY: &str = "somebody without a valid token";

pub(crate) async fn gate(
    State(state): State<ApiState>,
    path: MatchedPath,
    mut request: Request,
    next: Next,
) -> Response {
    let path = path.as_str().to_owned();
    if has_nul(request.uri()) {
        return Failure::malformed("The address has the character U+0000 (`%00`).").into_response();
    }
    let Some(endpoint) = endpoints::find(request.method(), &path) else {
        return no_such_method(&path);
    };
    let Needs::Action(action) = endpoint.needs else {
        return next.run(request).await;
    };
    let who = match admit(&state, request.headers()).await {
        Ok(who) => who,
        Err(failure) => return failure.into_response(),
    };
    if !may(who.role, action) {
        return Failure::from(action.denied(who.role)).into_response();
    }
    request.extensions_mut().insert(who.clone());
    idempotency::once(&state, &who, endpoint, request, next).await
}

/// Who asks, by the token of the header.
async fn admit(state: &ApiState, headers: &HeaderMap) -> Answer<Principal> {
    match bearer(headers) {
        Some(bearer) => principal(state, bearer).await,
        None => {
            let reason = "the request has no header `Authorization: Bearer …`".to_owned();
            Err(Kind::ApiTokenInvalid { reason }.into())
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whose token it is, if they do not ask too often.
pub(crate) async fn principal(state: &ApiState, token: &str) -> Answer<Principal> {
    match state.access.authenticate(token).await {
        Ok(who) => {
            take(state, &who.name)?;
            Ok(who)
        }
        Err(problem) => {
            take(state, NOBODY)?;
            Err(problem.into())
        }
    }
}

impl ApiState {
    /// One step of a login: the provider is asked for it, by whoever comes.
    pub(crate) fn take_login(&self) -> Answer<()> {
        take(self, "somebody who logs in")
    }
}

fn take(state: &ApiState, who: &str) -> Answer<()> {
    let taken = state.buckets.take(who, Instant::now());
    taken.map_err(|pause| {
        let rounded = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
        Failure::too_many(who, rounded)
    })
}

/// PostgreSQL keeps no text with this character, and nothing has such a name.
fn has_nul(uri: &Uri) -> bool {
    let whole = uri.path_and_query().map_or("", |whole| whole.as_str());
    whole.contains("%00")
}

fn no_such_method(path: &str) -> Response {
    let methods = endpoints::methods(path);
    if methods.is_empty() {
        let what = format!("{path} has no row in the table of endpoints.");
        return Failure::from(Kind::Internal { what }).into_response();
    }
    let methods = methods.join(", ");
    let failure = Failure::malformed(format!("{path} knows {methods} only."));
    let failure = failure.with_status(StatusCode::METHOD_NOT_ALLOWED);
    let mut response = failure.into_response();
    if let Ok(allowed) = HeaderValue::from_str(&methods) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

/// Carries a request out whether or not somebody waits for the answer, and answers in time.
pub(crate) async fn in_time(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    let limit = state.options.answer_limit;
    let work = tokio::spawn(next.run(request));
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            let what = format!("A request ended without an answer: {error}.");
            Failure::from(Kind::Internal { what }).into_response()
        }
        Err(_) => timed_out(limit),
    }
}

fn timed_out(limit: Duration) -> Response {
    let limit_s = limit.as_secs().to_string();
    Failure::from(Kind::RequestTimedOut { limit_s }).into_response()
}

/// Whom the gate has let in.
pub(crate) struct Who(pub(crate) Principal);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let who = parts.extensions.get::<Principal>().cloned();
        who.map(Self).ok_or_else(|| {
            let what = "A request came past the gate.".to_owned();
            Kind::Internal { what }.into()
        })
    }
}
