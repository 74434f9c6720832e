//! `GET /metrics`: the state of the service in Prometheus' text format.
//!
//! What is counted lies in the catalog, where it survives restarts; HTTP requests are since the start of the
//! process, as every process counts its own. No query looks at all jobs there were: `docs/metrics.md`.

mod gather;
mod process;
mod requests;
mod table;
mod text;

use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};

use crate::{
    ApiState,
    failure::{Answer, FailureBody},
};

pub(crate) use requests::{Requests, count};
pub use table::{METRICS, Metric, MetricKind, metrics_page};

/// What a scraper must be told that this is.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics, in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "metrics", responses(
    (status = 200, description = "The metrics of docs/metrics.md.", body = String, content_type = "text/plain"),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn show(State(state): State<ApiState>) -> Answer<Response> {
    let text = gather::gather(&state).await?;
    Ok(([(CONTENT_TYPE, FORMAT)], text).into_response())
}
