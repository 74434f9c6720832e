//! The first page: what is protected, what jobs did, which recovery points there are. Server-rendered, without
//! scripts. A cookie with the token opens it; it opens nothing else, and the page changes nothing.

mod home;
mod job;
mod layout;
mod login;
mod sign_in;

use axum::{
    Router,
    extract::FromRequestParts,
    http::{HeaderMap, StatusCode, request::Parts},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use maud::{Markup, html};
use tresor_identity::{Action, may};
use tresor_problem::Problem;

use crate::{ApiState, Principal, failure::Failure, gate};

/// What the page shows.
const SHOWN: [Action; 3] = [Action::ItemView, Action::JobView, Action::PointView];

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/", get(home::show))
        .route("/jobs/{id}", get(job::show))
        .route("/login", get(login::show).post(login::enter))
        .route("/logout", post(login::leave))
        .route("/login/oidc", get(sign_in::begin))
        .route(tresor_oidc::CALLBACK, get(sign_in::come_back))
}

/// Somebody with a cookie that opens the page.
struct Visitor(Principal);

impl FromRequestParts<ApiState> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Response> {
        let Some(token) = login::cookie(&parts.headers) else {
            return Err(Redirect::to("/login").into_response());
        };
        match admit(state, token).await {
            Ok(who) => Ok(Self(who)),
            Err(failure) if failure.status == StatusCode::UNAUTHORIZED => {
                Err(Redirect::to("/login").into_response())
            }
            Err(failure) => Err(failed(&failure)),
        }
    }
}

/// Who that is, if they may see the page.
async fn admit(state: &ApiState, token: &str) -> Result<Principal, Failure> {
    let who = gate::principal(state, token).await?;
    match SHOWN.iter().find(|action| !may(who.role, **action)) {
        Some(action) => Err(action.denied(who.role).into()),
        None => Ok(who),
    }
}

/// A page for what went wrong.
fn failed(failure: &Failure) -> Response {
    let body = html! { (problem(&failure.problem)) p { a href="/" { "Back" } } };
    layout::with_status(failure.status, &layout::page("Problem", None, &body))
}

/// A problem with its remedy.
fn problem(problem: &Problem) -> Markup {
    html! {
        section.problem aria-label="Problem" {
            h3 { (problem.title) " " code { (problem.code) } }
            p { (problem.cause) }
            ol { @for step in &problem.remedy { li { (step) } } }
        }
    }
}

/// Whether the browser says that the request comes from another site. `Origin` tells nothing here: by our
/// own referrer policy it is `null`.
fn is_foreign(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    site.is_some_and(|site| site != "same-origin" && site != "none")
}
