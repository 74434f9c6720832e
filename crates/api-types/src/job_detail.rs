//! A job with its story, and what the event stream says of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_model::{SubTaskState, UnwindReason};
use tresor_problem::Problem;
use utoipa::ToSchema;

use crate::{JobView, ProblemView};

/// A job, what it does, and what went wrong.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JobDetail {
    /// The job.
    pub job: JobView,
    /// When it was first taken up.
    pub begun_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How long it waited to be taken up, in seconds; it counts against no limit. `null`: it waits.
    pub queued_s: Option<i64>,
    /// What it does, in order.
    pub sub_tasks: Vec<SubTask>,
    /// What did not stop it and is worth reading.
    pub warnings: Vec<WarningView>,
    /// Why it is or was taken back: `failure`, `cancel` or `crash`.
    #[schema(value_type = Option<String>)]
    pub unwinding: Option<UnwindReason>,
    /// The first cause of that, with what to do.
    #[schema(value_type = Option<ProblemView>)]
    pub problem: Option<Problem>,
}

/// A sub-task.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SubTask {
    /// Its name.
    pub name: String,
    /// `pending`, `started`, `succeeded`, `failed`, `undo_started`, `undone`, `undo_failed`.
    #[schema(value_type = String)]
    pub state: SubTaskState,
    /// How long it may take, in milliseconds.
    pub limit_ms: Option<u64>,
    /// Whether the job is final once it has succeeded.
    pub commits: bool,
    /// When it was last begun.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it gave up.
    #[schema(value_type = Option<ProblemView>)]
    pub problem: Option<Problem>,
    /// Why it could not be undone.
    #[schema(value_type = Option<ProblemView>)]
    pub undo_problem: Option<Problem>,
}

/// Something worth reading.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WarningView {
    /// Place of the sub-task that said it, from 0.
    pub sub_task: Option<usize>,
    /// When.
    pub at: Timestamp,
    /// What, in words.
    pub text: String,
    /// What, where it is a problem of the catalog.
    #[schema(value_type = Option<ProblemView>)]
    pub problem: Option<Problem>,
}

/// A job and its running sub-task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobNews {
    /// The job.
    pub job: JobView,
    /// What it is at.
    pub sub_task: Option<SubTaskNews>,
}

/// The sub-task that a job is at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubTaskNews {
    /// Its place in the job's table, from 0.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub state: SubTaskState,
    /// When it was begun.
    pub started_at: Option<Timestamp>,
}
