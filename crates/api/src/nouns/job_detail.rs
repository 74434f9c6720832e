//! A job with its story.

use jiff::Timestamp;
use serde::Serialize;
use tresor_jobs::{JobStory, SubTaskView, UnwindReason, Warning};
use tresor_model::SubTaskState;
use tresor_problem::{Kind, Problem};
use utoipa::ToSchema;

use super::{jobs::JobView, problems::ProblemView};
use crate::failure::Answer;

/// A job, what it does, and what went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobDetail {
    /// The job.
    pub(crate) job: JobView,
    /// When it was first taken up.
    pub(crate) begun_at: Option<Timestamp>,
    /// When it ended.
    pub(crate) ended_at: Option<Timestamp>,
    /// How long it waited to be taken up, in seconds; it counts against no limit. `null`: it waits.
    pub(crate) queued_s: Option<i64>,
    /// What it does, in order.
    pub(crate) sub_tasks: Vec<SubTask>,
    /// What did not stop it and is worth reading.
    pub(crate) warnings: Vec<WarningView>,
    /// Why it is or was taken back: `failure`, `cancel` or `crash`.
    #[schema(value_type = Option<String>)]
    pub(crate) unwinding: Option<UnwindReason>,
    /// The first cause of that, with what to do.
    #[schema(value_type = Option<ProblemView>)]
    pub(crate) problem: Option<Problem>,
}

/// A sub-task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubTask {
    /// Its name.
    pub(crate) name: String,
    /// `pending`, `started`, `succeeded`, `failed`, `undo_started`, `undone`, `undo_failed`.
    #[schema(value_type = String)]
    pub(crate) state: SubTaskState,
    /// How long it may take, in milliseconds.
    limit_ms: Option<u64>,
    /// Whether the job is final once it has succeeded.
    commits: bool,
    /// When it was last begun.
    pub(crate) started_at: Option<Timestamp>,
    /// When it ended.
    pub(crate) ended_at: Option<Timestamp>,
    /// Why it gave up.
    #[schema(value_type = Option<ProblemView>)]
    pub(crate) problem: Option<Problem>,
    /// Why it could not be undone.
    #[schema(value_type = Option<ProblemView>)]
    pub(crate) undo_problem: Option<Problem>,
}

/// Something worth reading.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WarningView {
    /// Place of the sub-task that said it, from 0.
    sub_task: Option<usize>,
    /// When.
    at: Timestamp,
    /// What, in words.
    pub(crate) text: String,
    /// What, where it is a problem of the catalog.
    #[schema(value_type = Option<ProblemView>)]
    problem: Option<Problem>,
}

impl JobDetail {
    pub(crate) fn of(story: JobStory) -> Answer<Self> {
        let view = story.view().map_err(|error| {
            let what = format!("The job's story cannot have happened: {error}.");
            Problem::from(Kind::Internal { what })
        })?;
        let created_at = story.header.job.created_at;
        let waited = |begun: Timestamp| begun.duration_since(created_at).as_secs().max(0);
        let warnings = view.warnings.into_iter().map(|recorded| WarningView {
            sub_task: recorded.sub_task,
            at: recorded.at,
            text: recorded.warning.to_string(),
            problem: match recorded.warning {
                Warning::Problem(problem) => Some(problem),
                Warning::Text(_) => None,
            },
        });
        Ok(Self {
            warnings: warnings.collect(),
            job: JobView::of(story.header),
            begun_at: view.begun_at,
            ended_at: view.ended_at,
            queued_s: view.begun_at.map(waited),
            sub_tasks: view.sub_tasks.into_iter().map(sub_task).collect(),
            unwinding: view.unwinding,
            problem: view.cause,
        })
    }
}

fn sub_task(task: SubTaskView) -> SubTask {
    SubTask {
        name: task.name,
        state: task.state,
        limit_ms: task.limit_ms,
        commits: task.commits,
        started_at: task.started_at,
        ended_at: task.ended_at,
        problem: task.problem,
        undo_problem: task.undo_problem,
    }
}
