//! Why there is a job that is no backup.

use serde::{Deserialize, Serialize};

/// Why there is a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Somebody asked for it.
    #[default]
    Asked,
    /// It is done from time to time.
    Routine,
}
