//! Jobs.

use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_identity::Action;
use tresor_jobs::{JobFilter, JobHeader, JobLog as _, Progress};
use tresor_model::{JobId, JobKind, JobState};
use utoipa::{IntoParams, ToSchema};

use super::job_detail::JobDetail;
use crate::{
    ApiState,
    body::{Asked, Named},
    failure::{Answer, FailureBody},
    gate::Who,
    page::{Bounds, Paged},
    trail,
};

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct JobView {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub(crate) id: JobId,
    /// What it does: `backup`, `restore`, `verify`, `copy`, `repair`, `check`, `expire`, `collect`, `catalog`.
    #[schema(value_type = String)]
    pub(crate) kind: JobKind,
    /// What it is about: the VM's or the vault's name; of a copy, `FROM to TO`.
    pub(crate) subject: String,
    /// `queued`, `in_progress`, `completed`, `completed_with_warnings`, `failed`, `cancelling`, `cancelled`.
    #[schema(value_type = String)]
    pub(crate) state: JobState,
    /// Where it waits or has waited: a host's id, or `local`; `null`: it never waited.
    pub(crate) lane: Option<String>,
    /// When it was asked for.
    pub(crate) created_at: Timestamp,
    /// Whether somebody asked for its end.
    pub(crate) cancel_requested: bool,
    /// How far its running sub-task is.
    pub(crate) progress: Option<ProgressView>,
}

/// How far a sub-task is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ProgressView {
    /// Place of the sub-task in the job's table, from 0.
    sub_task: usize,
    /// Bytes done.
    done_bytes: u64,
    /// Bytes to do, where that is known.
    total_bytes: Option<u64>,
    /// What is being done, in a few words.
    message: String,
}

impl JobView {
    pub(crate) fn of(header: JobHeader) -> Self {
        let ended = header.state.is_final();
        Self {
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
}

impl ProgressView {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let percent = self.total_bytes.filter(|total| *total > 0).map(|total| {
            let done = u128::from(self.done_bytes.min(total)) * 100;
            format!("{} % ", done / u128::from(total))
        });
        format!("{}{}", percent.unwrap_or_default(), self.message)
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

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobQuery {
    /// Only those that do this: `backup`, `restore`, `verify`, `copy`, `repair` or `check`.
    #[param(value_type = Option<String>)]
    kind: Option<JobKind>,
    /// Only those in this state.
    #[param(value_type = Option<String>)]
    state: Option<JobState>,
    /// Only those about this VM or vault, by name.
    subject: Option<String>,
    /// Only those that wait or have waited there: a host's id, or `local`.
    lane: Option<String>,
    /// Only those that have not ended.
    #[serde(default)]
    #[param(required = false)]
    unfinished: bool,
    /// At most so many, 1 to 500. Default: 100.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
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
    Ok(bounds.page(jobs, |header| header.job.id.to_string(), JobView::of))
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
    Ok(Json(JobDetail::of(story)?))
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
    let before = JobView::of(state.catalog.load(id).await?.header);
    state.catalog.request_cancel(id).await?;
    let after = JobView::of(state.catalog.load(id).await?.header);
    let (object, views) = (format!("job:{id}"), (Some(before), Some(&after)));
    trail::note(&state, &who, Action::JobCancel, object, views).await?;
    Ok((StatusCode::ACCEPTED, Json(after)))
}
