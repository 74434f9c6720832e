//! The service at a glance.

use axum::{Json, extract::State};
use jiff::Timestamp;
use tresor_api_types::{ItemCounts, Standing, StatusView};
use tresor_catalog::{AlertFilter, CatalogErrorKind, ItemFilter, Page};
use tresor_jobs::{JobFilter, JobLog as _};
use tresor_model::JobState;
use tresor_service::SCHEDULER_LEASE;

use super::items;
use crate::{
    ApiState,
    failure::{Answer, FailureBody},
};

/// More open alerts are not counted.
const MOST_ALERTS: u32 = 1000;
/// More jobs are not counted.
const MOST_JOBS: u32 = 10_000;

/// How everything stands.
#[utoipa::path(get, path = "/api/v1/status", tag = "status", responses(
    (status = 200, description = "Numbers.", body = StatusView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn show(State(state): State<ApiState>) -> Answer<Json<StatusView>> {
    let filter = JobFilter {
        unfinished: true,
        limit: Some(MOST_JOBS),
        ..JobFilter::default()
    };
    let jobs = state.catalog.list(&filter).await?;
    let queued = jobs
        .iter()
        .filter(|header| header.state == JobState::Queued)
        .count();
    let open = AlertFilter {
        open: true,
        ..AlertFilter::default()
    };
    let alerts = state
        .catalog
        .alerts(&open, &Page::first(MOST_ALERTS))
        .await?;
    Ok(Json(StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scheduled_until: scheduled_until(&state).await?,
        zone: state.options.zone.iana_name().map(str::to_owned),
        items: count(&state).await?,
        jobs_queued: queued,
        jobs_running: jobs.len() - queued,
        alerts_open: alerts.len(),
    }))
}

async fn scheduled_until(state: &ApiState) -> Answer<Option<Timestamp>> {
    match state.catalog.lease(SCHEDULER_LEASE).await {
        Ok(lease) => Ok(Some(lease.until)),
        Err(error) if matches!(error.kind, CatalogErrorKind::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn count(state: &ApiState) -> Answer<ItemCounts> {
    let mut counts = ItemCounts::default();
    let mut after = None;
    loop {
        let page = Page {
            after,
            ..Page::default()
        };
        let records = state.catalog.items(&ItemFilter::default(), &page).await?;
        let Some(last) = records.last() else {
            return Ok(counts);
        };
        after = Some(last.vm);
        let seen = state.outlooks.seen_by(&records).await?;
        let now = Timestamp::now();
        for record in &records {
            let count = match items::view(record, &seen, now).standing {
                Some(Standing::Fresh) => &mut counts.fresh,
                Some(Standing::Waiting) => &mut counts.waiting,
                Some(Standing::Late) => &mut counts.late,
                Some(Standing::Stopped) => &mut counts.stopped,
                _ => &mut counts.unknown,
            };
            *count += 1;
        }
    }
}
