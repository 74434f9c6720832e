//! Jobs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_model::{JobId, JobKind, JobState};
use utoipa::{IntoParams, ToSchema};

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub id: JobId,
    /// What it does: `backup`, `restore`, `verify`, `copy`, `repair`, `check`, `expire`, `collect`, `catalog`.
    #[schema(value_type = String)]
    pub kind: JobKind,
    /// What it is about: the VM's or the vault's name; of a copy, `FROM to TO`.
    pub subject: String,
    /// `queued`, `in_progress`, `completed`, `completed_with_warnings`, `failed`, `cancelling`, `cancelled`.
    #[schema(value_type = String)]
    pub state: JobState,
    /// Where it waits or has waited: a host's id, or `local`; `null`: it never waited.
    pub lane: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Whether somebody asked for its end.
    pub cancel_requested: bool,
    /// How far its running sub-task is.
    pub progress: Option<ProgressView>,
}

/// How far a sub-task is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProgressView {
    /// Place of the sub-task in the job's table, from 0.
    pub sub_task: usize,
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes to do, where that is known.
    pub total_bytes: Option<u64>,
    /// What is being done, in a few words.
    pub message: String,
}

/// Which jobs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobQuery {
    /// Only those that do this: `backup`, `restore`, `verify`, `copy`, `repair` or `check`.
    #[param(value_type = Option<String>)]
    pub kind: Option<JobKind>,
    /// Only those in this state.
    #[param(value_type = Option<String>)]
    pub state: Option<JobState>,
    /// Only those about this VM or vault, by name.
    pub subject: Option<String>,
    /// Only those that wait or have waited there: a host's id, or `local`.
    pub lane: Option<String>,
    /// Only those that have not ended.
    #[serde(default)]
    #[param(required = false)]
    pub unfinished: bool,
    /// At most so many, 1 to 500. Default: 100.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

impl ProgressView {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let percent = self.total_bytes.filter(|total| *total > 0).map(|total| {
            let done = u128::from(self.done_bytes.min(total)) * 100;
            format!("{} % ", done / u128::from(total))
        });
        format!("{}{}", percent.unwrap_or_default(), self.message)
    }
}
