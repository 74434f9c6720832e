//! Coming in with a token, and leaving.

use axum::{
    Form,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use maud::html;
use serde::Deserialize;

use super::{admit, failed, is_foreign, layout, problem, sign_in};
use crate::{
    ApiState,
    failure::{Answer, Failure},
};

const COOKIE: &str = "tresor_token";
/// A working day.
pub(super) const LASTS_S: u32 = 12 * 3600;

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Entry {
    token: String,
}

pub(super) async fn show(State(state): State<ApiState>) -> Response {
    layout::answer(&form(&state, None))
}

/// The form again, with why it was not enough.
pub(super) fn refused(state: &ApiState, failure: &Failure) -> Response {
    layout::with_status(failure.status, &form(state, Some(failure)))
}

pub(super) async fn enter(
    State(state): State<ApiState>,
    headers: HeaderMap,
    entry: Result<Form<Entry>, axum::extract::rejection::FormRejection>,
) -> Response {
    if is_foreign(&headers) {
        return failed(&foreign());
    }
    let Ok(Form(entry)) = entry else {
        return failed(&Failure::malformed("The form has no token."));
    };
    let token: String = entry.token.split_whitespace().collect();
    match admit(&state, &token).await {
        Ok(_) => match cookie_header(&state, &token, LASTS_S) {
            Ok(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response(),
            Err(failure) => failed(&failure),
        },
        Err(failure) => refused(&state, &failure),
    }
}

pub(super) async fn leave(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    if is_foreign(&headers) {
        return failed(&foreign());
    }
    match cookie_header(&state, "", 0) {
        Ok(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response(),
        Err(failure) => failed(&failure),
    }
}

/// The token of the page's cookie.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    cookie_named(headers, COOKIE)
}

pub(super) fn cookie_named<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter();
    let pairs = all.filter_map(|value| value.to_str().ok());
    let mut pairs = pairs.flat_map(|value| value.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == wanted && !value.is_empty()).then_some(value)
    })
}

/// A token that was accepted has letters, digits and `_` only; anything else would be another cookie.
pub(super) fn cookie_header(state: &ApiState, token: &str, lasts_s: u32) -> Answer<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !token.bytes().all(plain) {
        return Err(Failure::malformed(
            "The token has characters that none has.",
        ));
    }
    let secure = secure(state);
    Ok(format!(
        "{COOKIE}={token}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Strict{secure}"
    ))
}

/// What keeps a cookie from going out in the open.
pub(super) fn secure(state: &ApiState) -> &'static str {
    match state.options.secure_cookie {
        true => "; Secure",
        false => "",
    }
}

fn foreign() -> Failure {
    let failure = Failure::malformed("The form was sent from another site.");
    failure.with_status(StatusCode::FORBIDDEN)
}

fn form(state: &ApiState, failure: Option<&Failure>) -> maud::Markup {
    let body = html! {
        h1 { "Tresor" }
        @if let Some(failure) = failure { (problem(&failure.problem)) }
        (sign_in::way(state).unwrap_or_default())
        form method="post" action="/login" {
            label for="token" { "API token" }
            input #token name="token" type="password" autocomplete="current-password" required;
            button { "Log in" }
        }
    };
    layout::page("Log in", None, &body)
}
