//! Hosts that have enrolled.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use serde_json::json;
use tresor_api_types::{HostView, MadeEnrolment, NewEnrolment, PageQuery, Paged};
use tresor_catalog::{HostRecord, Page};
use tresor_identity::Action;
use tresor_model::HostId;
use tresor_problem::Kind;
use tresor_service::end_jobs_of;

use crate::{
    ApiState,
    body::{Asked, JsonBody, Named},
    failure::{Answer, Failure, FailureBody},
    gate::Who,
    page::Bounds,
    trail,
};

/// A token is good for an hour, and for 30 days at most.
const USUAL_S: u32 = 3600;
const LONGEST_S: u32 = 30 * 86_400;

/// Hosts, by name.
#[utoipa::path(get, path = "/api/v1/hosts", tag = "hosts", params(PageQuery), responses(
    (status = 200, description = "A page of hosts.", body = Paged<HostView>),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(asked): Asked<PageQuery>,
) -> Answer<Json<Paged<HostView>>> {
    let bounds = Bounds::new("hosts", asked.limit, asked.cursor.as_deref())?;
    let page = Page {
        after: bounds.after.clone(),
        limit: bounds.read(),
    };
    let hosts = state.catalog.hosts(&page).await?;
    Ok(bounds.page(hosts, |host| host.name.clone(), view))
}

/// Makes a token by which one host can enrol, once. It is shown this once, so the request takes no
/// Idempotency-Key.
#[utoipa::path(post, path = "/api/v1/hosts/tokens", tag = "hosts", request_body = NewEnrolment, responses(
    (status = 201, description = "The token.", body = MadeEnrolment),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn token(
    State(state): State<ApiState>,
    Who(who): Who,
    JsonBody(asked): JsonBody<NewEnrolment>,
) -> Answer<(StatusCode, Json<MadeEnrolment>)> {
    let valid_s = asked.valid_s.unwrap_or(USUAL_S);
    if !(1..=LONGEST_S).contains(&valid_s) {
        let what = format!("`valid_s` is {valid_s}; 1 to {LONGEST_S} are possible.");
        return Err(Failure::malformed(what));
    }
    let Some(enrol) = &state.enrol else {
        return Err(Kind::UsageError {
            what: "There is no service here yet: `tresor serve` makes its certificate authority when it runs first."
                .to_owned(),
        }
        .into());
    };
    let valid = Duration::from_secs(valid_s.into());
    let token = enrol.token(&asked.name, valid).await?;
    let (object, noted) = (
        format!("host:{}", asked.name),
        Some(json!({ "valid_s": valid_s })),
    );
    trail::note(
        &state,
        &who,
        Action::HostEnrol,
        object,
        (trail::NOTHING, noted),
    )
    .await?;
    let made = MadeEnrolment {
        token: token.as_str().to_owned(),
        name: asked.name,
        valid_s,
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Lets a host in no more, whatever certificate it has; its connections end within seconds.
#[utoipa::path(post, path = "/api/v1/hosts/{id}/revoke", tag = "hosts", params(("id" = String, Path, description = "The host's id.", format = Uuid)), responses(
    (status = 200, description = "The host as it is now.", body = HostView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn revoke(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(id): Named<HostId>,
) -> Answer<Json<HostView>> {
    let host = state.catalog.host(id).await?;
    state.catalog.revoke_host(id).await?;
    end_jobs_of(&state.catalog, &host).await?;
    let before = view(host);
    let after = view(state.catalog.host(id).await?);
    let (object, views) = (format!("host:{id}"), (Some(before), Some(&after)));
    trail::note(&state, &who, Action::HostRevoke, object, views).await?;
    Ok(Json(after))
}

/// Forgets a host that has no VMs any more.
#[utoipa::path(delete, path = "/api/v1/hosts/{id}", tag = "hosts", params(("id" = String, Path, description = "The host's id.", format = Uuid)), responses(
    (status = 204, description = "It is gone."),
    (status = 409, description = "A VM on it is registered.", body = FailureBody),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn remove(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(id): Named<HostId>,
) -> Answer<StatusCode> {
    let host = state.catalog.host(id).await?;
    state.catalog.remove_host(id).await?;
    end_jobs_of(&state.catalog, &host).await?;
    let before = view(host);
    let (object, views) = (format!("host:{id}"), (Some(before), trail::NOTHING));
    trail::note(&state, &who, Action::HostRemove, object, views).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn view(host: HostRecord) -> HostView {
    HostView {
        id: host.id,
        name: host.name,
        state: host.state,
        enrolled_at: host.enrolled_at,
        last_seen: host.last_seen,
        version: host.version,
        capabilities: host.capabilities,
    }
}
