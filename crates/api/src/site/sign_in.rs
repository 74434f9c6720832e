//! Coming in by the word of an identity provider: there, and back with a code.
//!
//! What came of it is a token of the API like any other, for as long as the page's cookie lasts: the audit log names
//! it, and it can be revoked.

use axum::{
    extract::{Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse as _, Redirect, Response},
};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;
use tresor_catalog::{SecretHash, TokenRecord, TokenRole};
use tresor_identity::{Action, ApiToken, Role};
use tresor_model::TokenId;
use tresor_oidc::{CALLBACK, Pending};
use tresor_problem::{Kind, Problem};
use zeroize::Zeroizing;

use super::{layout, login};
use crate::{ApiState, Principal, failure::Answer, logins::Logins, trail};

/// What a browser keeps while it is at the provider.
const COOKIE: &str = "tresor_login";
/// How long somebody may take there, in seconds.
const LASTS_S: u32 = 15 * 60;
/// Tokens of logins that ended so long ago are forgotten; the audit log keeps who they were.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);

/// What the provider has the browser bring.
#[derive(Debug, Deserialize)]
pub(super) struct Brought {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// To the provider.
pub(super) async fn begin(State(state): State<ApiState>) -> Response {
    let begun = async {
        let logins = logins(&state)?;
        state.take_login()?;
        let (url, pending) = logins.begin().await?;
        Ok((url, cookie(&state, &pending.to_text(), LASTS_S)))
    };
    match begun.await {
        // Not by 301: each login is another one.
        Ok((url, cookie)) => ([(header::SET_COOKIE, cookie)], Redirect::to(&url)).into_response(),
        Err(failure) => login::refused(&state, &failure),
    }
}

/// Back from the provider.
pub(super) async fn come_back(
    State(state): State<ApiState>,
    headers: HeaderMap,
    brought: Result<Query<Brought>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let entered = async {
        let Query(brought) = brought.map_err(|_| refused("the provider's answer is none"))?;
        let who = identify(&state, &headers, &brought).await?;
        let token = issue(&state, &who).await?;
        login::cookie_header(&state, &token, login::LASTS_S)
    };
    match entered.await {
        Ok(token) => {
            let headers = [token, cookie(&state, "", 0)].map(|value| (header::SET_COOKIE, value));
            (axum::response::AppendHeaders(headers), onwards()).into_response()
        }
        Err(failure) => login::refused(&state, &failure),
    }
}

async fn identify(state: &ApiState, headers: &HeaderMap, brought: &Brought) -> Answer<Principal> {
    let logins = logins(state)?;
    let pending = login::cookie_named(headers, COOKIE).and_then(Pending::from_text);
    let Some(pending) = pending else {
        return Err(refused("this browser has begun no login, or too long ago").into());
    };
    if let Some(error) = &brought.error {
        let more = brought.error_description.as_deref().unwrap_or_default();
        let said: String = format!("{error} {more}")
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect();
        return Err(refused(&format!("the provider says {}", said.trim())).into());
    }
    let (Some(code), Some(proof)) = (&brought.code, &brought.state) else {
        return Err(refused("the provider's answer has no code").into());
    };
    state.take_login()?;
    Ok(logins.finish(&pending, proof, code).await?)
}

/// A token of theirs, for as long as the cookie lasts.
async fn issue(state: &ApiState, who: &Principal) -> Answer<Zeroizing<String>> {
    let role = match who.role {
        Role::Admin => TokenRole::Admin,
        Role::Operator => TokenRole::Operator,
        Role::Reader => TokenRole::Reader,
        Role::Host(_) => return Err(refused("a host does not log in").into()),
    };
    let token = ApiToken::generate(TokenId::generate()).map_err(|error| Kind::Internal {
        what: format!("No token could be made: {error}."),
    })?;
    let now = Timestamp::now();
    let record = TokenRecord {
        id: token.id(),
        name: format!("login of {}", who.name),
        hash: SecretHash::from(*token.hash().as_bytes()),
        role,
        created_at: now,
        expires_at: Some(now + SignedDuration::from_secs(login::LASTS_S.into())),
        last_used_at: None,
        revoked_at: None,
    };
    state.catalog.forget_tokens_ended_before(now - KEPT).await?;
    state.catalog.add_token(&record).await?;
    let object = format!("token:{}", record.id);
    trail::note(
        state,
        who,
        Action::TokenAdd,
        object,
        (trail::NOTHING, trail::NOTHING),
    )
    .await?;
    Ok(token.to_text())
}

fn logins(state: &ApiState) -> Result<&Logins, Problem> {
    let logins = state.logins.as_deref();
    logins.ok_or_else(|| refused("this service goes by no identity provider"))
}

fn refused(reason: &str) -> Problem {
    let reason = reason.to_owned();
    Kind::LoginRefused { reason }.into()
}

/// The browser comes from another site here, so `SameSite=Strict` would keep this cookie from us.
fn cookie(state: &ApiState, value: &str, lasts_s: u32) -> String {
    let secure = login::secure(state);
    format!("{COOKIE}={value}; Path={CALLBACK}; Max-Age={lasts_s}; HttpOnly; SameSite=Lax{secure}")
}

/// A page that goes on by itself: what follows an answer to another site would come without the page's
/// cookie, which is for requests of our own pages only.
fn onwards() -> Response {
    let body = html! {
        (PreEscaped(r#"<meta http-equiv="refresh" content="0; url=/">"#))
        p { a href="/" { "Go on" } }
    };
    layout::answer(&layout::page("Logged in", None, &body))
}

/// The way there, where there is one.
pub(super) fn way(state: &ApiState) -> Option<Markup> {
    let logins = state.logins.as_ref()?;
    Some(html! { p { a href="/login/oidc" { "Log in at " (logins.provider()) } } })
}
