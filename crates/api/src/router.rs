//! The routes.

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, header},
    middleware::{from_fn_with_state, map_response},
    response::Response,
    routing::{get, post},
};
use tresor_problem::Kind;

use crate::{
    ApiState, body, events,
    failure::Failure,
    gate, metrics,
    nouns::{
        alerts, audit, channels, datasources, hosts, items, jobs, points, policies, problems,
        restores, status, tokens, vault_jobs, vaults,
    },
    openapi, site,
};

/// The API and the first page, to be served.
pub fn router(state: ApiState) -> Router {
    let api = Router::new()
        .route("/api/v1/vaults", get(vaults::list))
        .route("/api/v1/vaults/{vault}/verify", post(vault_jobs::verify))
        .route("/api/v1/vaults/{vault}/copy", post(vault_jobs::copy))
        .route("/api/v1/vaults/{vault}/expire", post(vault_jobs::expire))
        .route("/api/v1/vaults/{vault}/collect", post(vault_jobs::collect))
        .route("/api/v1/hosts", get(hosts::list))
        .route("/api/v1/hosts/tokens", post(hosts::token))
        .route("/api/v1/hosts/{id}/revoke", post(hosts::revoke))
        .route("/api/v1/hosts/{id}", axum::routing::delete(hosts::remove))
        .route("/api/v1/datasources", get(datasources::list))
        .route("/api/v1/items", get(items::list))
        .route("/api/v1/items/{vm}", get(items::show).put(items::protect))
        .route("/api/v1/items/{vm}/stop", post(items::stop))
        .route("/api/v1/items/{vm}/delete-data", post(items::delete_data))
        .route("/api/v1/items/{vm}/resume", post(items::resume))
        .route("/api/v1/items/{vm}/backup", post(items::backup))
        .route("/api/v1/policies", get(policies::list))
        .route(
            "/api/v1/policies/{name}",
            get(policies::show)
                .put(policies::put)
                .delete(policies::remove),
        )
        .route("/api/v1/jobs", get(jobs::list))
        .route("/api/v1/jobs/{id}", get(jobs::show))
        .route("/api/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/api/v1/points", get(points::list))
        .route("/api/v1/points/{point}/restore", post(restores::restore))
        .route("/api/v1/problems", get(problems::list))
        .route("/api/v1/problems/{code}", get(problems::show))
        .route("/api/v1/alerts", get(alerts::list))
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/api/v1/tokens/{id}", axum::routing::delete(tokens::revoke))
        .route("/api/v1/status", get(status::show))
        .route("/api/v1/channels", get(channels::list))
        .route(
            "/api/v1/channels/{name}",
            axum::routing::put(channels::put).delete(channels::remove),
        )
        .route("/api/v1/channels/{name}/test", post(channels::test))
        .route("/metrics", get(metrics::show))
        .route("/api/v1/events", get(events::follow))
        .route("/api/v1/openapi.json", get(openapi::serve))
        .route_layer(from_fn_with_state(state.clone(), gate::gate));
    Router::new()
        .merge(api)
        .merge(site::routes())
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(body::MAX_BODY))
        .layer(from_fn_with_state(state.clone(), gate::in_time))
        .layer(map_response(headers))
        .layer(from_fn_with_state(state.clone(), metrics::count))
        .with_state(state)
}

async fn nothing_here(request: Request) -> Failure {
    let path: String = request.uri().path().chars().take(200).collect();
    let object = "resource".to_owned();
    Kind::ObjectNotFound { object, name: path }.into()
}

/// What every answer says to browsers.
async fn headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    response
}
