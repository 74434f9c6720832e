//! A job's page: its sub-tasks, and what went wrong.

use axum::{extract::State, response::Response};
use maud::{Markup, html};
use tresor_api_types::JobDetail;
use tresor_jobs::JobLog as _;
use tresor_model::JobId;

use super::{
    Visitor, failed,
    layout::{self, state as mark, time, word},
    problem,
};
use crate::{
    ApiState,
    body::Named,
    failure::{Answer, Failure},
    nouns::job_detail,
};

pub(super) async fn show(
    State(state): State<ApiState>,
    Visitor(who): Visitor,
    id: Result<Named<JobId>, Failure>,
) -> Response {
    let detail = match id {
        Ok(Named(id)) => load(&state, id).await,
        Err(failure) => Err(failure),
    };
    match detail {
        Ok(detail) => layout::answer(&layout::page("Job", Some(&who), &content(&detail))),
        Err(failure) => failed(&failure),
    }
}

async fn load(state: &ApiState, id: JobId) -> Answer<JobDetail> {
    job_detail::of(state.catalog.load(id).await?)
}

fn content(detail: &JobDetail) -> Markup {
    let job = &detail.job;
    html! {
        h1 { (word(job.kind)) " of " (job.subject) }
        p { (mark(&word(job.state))) }
        p {
            "Asked for " (time(Some(job.created_at))) ", begun " (time(detail.begun_at))
            @if let Some(queued_s) = detail.queued_s { " (" (queued_s) " s in the queue)" }
            ", ended " (time(detail.ended_at)) "."
        }
        @if let Some(cause) = &detail.problem { (problem(cause)) }
        @if !detail.warnings.is_empty() {
            h2 { "Warnings" }
            ul { @for warning in &detail.warnings { li { (warning.text) } } }
        }
        (sub_tasks(detail))
        p { code { (job.id) } }
    }
}

fn sub_tasks(detail: &JobDetail) -> Markup {
    html! {
        div.scroll {
            table {
                caption { "Sub-tasks" }
                thead { tr {
                    th scope="col" { "Sub-task" } th scope="col" { "State" }
                    th scope="col" { "Begun" } th scope="col" { "Ended" } th scope="col" { "Problem" }
                } }
                tbody {
                    @for task in &detail.sub_tasks {
                        tr {
                            th scope="row" { (task.name) }
                            td { (mark(&word(task.state))) }
                            td { (time(task.started_at)) }
                            td { (time(task.ended_at)) }
                            td {
                                @if let Some(problem) = &task.problem { p { (problem.cause) } }
                                @if let Some(problem) = &task.undo_problem { p { (problem.cause) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
