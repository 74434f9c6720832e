//! Background jobs of the block layer.

use serde::Deserialize;
use serde_json::Value;

use super::{Nothing, commands};

commands! {
    /// `query-jobs`.
    QueryJobs => "query-jobs" -> Vec<Job> {}

    /// `job-cancel`.
    JobCancel => "job-cancel" -> Nothing {
        /// Its id.
        id: String,
    }

    /// `job-dismiss`: forgets a concluded job.
    JobDismiss => "job-dismiss" -> Nothing {
        /// Its id.
        id: String,
    }

    /// `blockdev-create`: formats an image, as a job that stays until it is dismissed.
    BlockdevCreate => "blockdev-create" -> Nothing {
        /// Id of the job.
        job_id: String,
        /// Depends on the driver: an object with `driver`.
        options: Value,
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// What it does (`backup`, `create`, `mirror`).
    #[serde(rename = "type")]
    pub kind: String,
    /// `running`, `concluded`, ….
    pub status: String,
    /// Why it failed.
    pub error: Option<String>,
}
