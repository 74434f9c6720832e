//! Jobs.

use axum::{Json, extract::State, http::StatusCode};
use tresor_api_types::{JobDetail, JobQuery, JobView, Paged, ProgressView};
use tresor_identity::Action;
use tresor_jobs::{JobFilter, JobHeader, JobLog as _, Progress};
use tresor_model::JobId;

use super::job_detail;
use crate::{
    ApiState,
    body::{Asked, Named},
    failure::{Answer, FailureBody},
    gate::Who,
    page::Bounds,
    trail,
};

/// A job as it is shown.
pub(crate) fn view(header: JobHeader) -> JobView {
    let ended = header.state.is_final();
    JobView {
        id: header.job.id,
        kind: header.job.kind,
        subject: header.job.subject,
        state: header.state,
        lane: header.lane,
        created_at: header.job.created_at,
        cancel_requested: header.cancel_requested,
        progress: header.progress.filter(|_| !ended).map(progress),
    }
}

fn progress(progress: Progress) -> ProgressView {
    ProgressView {
        sub_task: progress.sub_task,
        done_bytes: progress.done,
        total_bytes: progress.total,
        message: progress.message,
    }
}

/// Jobs, newest first.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(JobQuery), responses(
    (status = 200, description = "A page of jobs.", body = Paged<JobView>),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(asked): Asked<JobQuery>,
) -> Answer<Json<Paged<JobView>>> {
    let bounds = Bounds::new("jobs", asked.limit, asked.cursor.as_deref())?;
    let filter = JobFilter {
        subject: asked.subject,
        kind: asked.kind,
        state: asked.state,
        lane: asked.lane,
        unfinished: asked.unfinished,
        before: bounds.after,
        limit: Some(bounds.read()),
    };
    let jobs = state.catalog.list(&filter).await?;
    Ok(bounds.page(jobs, |header| header.job.id.to_string(), view))
}

/// One job, with its sub-tasks and what went wrong.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path, description = "The job's id.", format = Uuid)), responses(
    (status = 200, description = "The job.", body = JobDetail),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn show(
    State(state): State<ApiState>,
    Named(id): Named<JobId>,
) -> Answer<Json<JobDetail>> {
    let story = state.catalog.load(id).await?;
    Ok(Json(job_detail::of(story)?))
}

/// Asks for a job's end. It is unwound; the answer does not wait for that. One that has ended stays as it is.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/cancel", tag = "jobs", params(("id" = String, Path, description = "The job's id.", format = Uuid)), responses(
    (status = 202, description = "The job.", body = JobView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn cancel(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(id): Named<JobId>,
) -> Answer<(StatusCode, Json<JobView>)> {
    let before = view(state.catalog.load(id).await?.header);
    state.catalog.request_cancel(id).await?;
    let after = view(state.catalog.load(id).await?.header);
    let (object, views) = (format!("job:{id}"), (Some(before), Some(&after)));
    trail::note(&state, &who, Action::JobCancel, object, views).await?;
    Ok((StatusCode::ACCEPTED, Json(after)))
}
