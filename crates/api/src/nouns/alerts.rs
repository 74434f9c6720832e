//! Alerts.

use axum::{Json, extract::State};
use tresor_api_types::{AlertQuery, AlertView, Paged};
use tresor_catalog::{AlertFilter, AlertRecord, Page};

use super::problems::without_detail;
use crate::{
    ApiState,
    body::Asked,
    failure::{Answer, FailureBody},
    page::Bounds,
};

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
