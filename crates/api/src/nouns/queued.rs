//! A job that somebody asked for, put into the queue.

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use tresor_identity::Action;
use tresor_jobs::{JobLog as _, JobQueue as _, NewJob, Ticket};
use tresor_model::HostId;
use tresor_service::LOCAL_LANE;

use super::jobs;
use crate::{ApiState, Principal, failure::Answer, trail};

/// Records a job that waits, notes who asked for it, and answers where to ask for it.
pub(crate) async fn enqueue(
    state: &ApiState,
    who: &Principal,
    (action, object): (Action, String),
    (job, lane): (NewJob, String),
) -> Answer<Response> {
    let ticket = Ticket {
        lane,
        not_before: job.created_at,
        rank: 0,
    };
    state.catalog.enqueue(&job, &ticket).await?;
    let job = job.id;
    let view = jobs::view(state.catalog.load(job).await?.header);
    let changed = (trail::NOTHING, Some(&view));
    trail::note(state, who, action, object, changed).await?;
    let headers = [(header::LOCATION, format!("/api/v1/jobs/{job}"))];
    Ok((StatusCode::ACCEPTED, headers, Json(view)).into_response())
}

/// Where jobs of a host wait; `None`: of the machine that the service runs on.
pub(crate) fn lane(host: Option<HostId>) -> String {
    host.map_or_else(|| LOCAL_LANE.to_owned(), |host| host.to_string())
}
