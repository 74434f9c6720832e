//! Alerts.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_catalog::{AlertFilter, AlertRecord, Page};
use tresor_model::AlertId;
use tresor_problem::Problem;
use utoipa::{IntoParams, ToSchema};

use super::problems::{ProblemView, without_detail};
use crate::{
    ApiState,
    body::Asked,
    failure::{Answer, FailureBody},
    page::{Bounds, Paged},
};

/// A problem that somebody should look at.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertView {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    id: AlertId,
    /// What it is about: a VM's name, for example.
    subject: String,
    /// What it is, as it was last.
    #[schema(value_type = ProblemView)]
    problem: Problem,
    /// Since when.
    since: Timestamp,
    /// When it was seen last.
    last_seen_at: Timestamp,
    /// How often it was seen.
    count: u64,
    /// When it was over.
    resolved_at: Option<Timestamp>,
}

/// Which alerts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AlertQuery {
    /// Only those about this.
    subject: Option<String>,
    /// Only those that are not over.
    #[serde(default)]
    #[param(required = false)]
    open: bool,
    /// At most so many, 1 to 500. Default: 100.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Alerts, newest first.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(AlertQuery), responses(
    (status = 200, description = "A page of alerts.", body = Paged<AlertView>),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(asked): Asked<AlertQuery>,
) -> Answer<Json<Paged<AlertView>>> {
    let bounds = Bounds::new("alerts", asked.limit, asked.cursor.as_deref())?;
    let filter = AlertFilter {
        subject: asked.subject,
        open: asked.open,
    };
    let page = Page {
        after: bounds.after,
        limit: bounds.read(),
    };
    let alerts = state.catalog.alerts(&filter, &page).await?;
    Ok(bounds.page(alerts, |alert| alert.id.to_string(), view))
}

fn view(alert: AlertRecord) -> AlertView {
    AlertView {
        id: alert.id,
        subject: alert.subject,
        problem: without_detail(alert.problem),
        since: alert.since,
        last_seen_at: alert.last_seen_at,
        count: alert.count,
        resolved_at: alert.resolved_at,
    }
}
