//! What is recorded of a job: an append-only list of events.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tresor_model::{JobState, UnwindReason};
use tresor_problem::Problem;

use crate::Owner;

/// Something that happened to a job, or is about to. Stored as JSON: members are never renamed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JobEvent {
    /// A process begins to work on the job, or takes it over from a dead one.
    TakenUp {
        /// The process.
        owner: Owner,
    },
    /// The action of a sub-task is about to run.
    Started {
        /// Index in the job's table.
        sub_task: usize,
    },
    /// The action is done.
    Succeeded {
        /// Index in the job's table.
        sub_task: usize,
        /// What later sub-tasks, the undo and a restarted process need to know.
        output: Value,
    },
    /// The action gave up.
    Failed {
        /// Index in the job's table.
        sub_task: usize,
        /// Why.
        problem: Problem,
    },
    /// Something that does not stop the job, and is worth reading.
    Warned {
        /// The sub-task that said it.
        sub_task: Option<usize>,
        /// What.
        warning: Warning,
    },
    /// From here on the job is taken back.
    UnwindStarted {
        /// What led to it.
        reason: UnwindReason,
        /// The first cause, as the user reads it.
        cause: Problem,
    },
    /// The undo of a sub-task is about to run.
    UndoStarted {
        /// Index in the job's table.
        sub_task: usize,
    },
    /// The undo is done.
    Undone {
        /// Index in the job's table.
        sub_task: usize,
    },
    /// The undo gave up: something of the sub-task may be left.
    UndoFailed {
        /// Index in the job's table.
        sub_task: usize,
        /// Why.
        problem: Problem,
    },
    /// Nothing more will happen. Recording it gives the lease back.
    Ended {
        /// A final state.
        state: JobState,
    },
}

/// Something worth reading that did not stop the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// A problem of the catalog.
    Problem(Problem),
    /// One sentence.
    Text(String),
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Problem(problem) => problem.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<Problem> for Warning {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<String> for Warning {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Warning {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// An event as it lies in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedEvent {
    /// Place in the job's story: 0, 1, 2, …
    pub seq: u64,
    /// When, by the clock of the process that recorded it. For people; order is by `seq`.
    pub at: Timestamp,
    /// What.
    pub event: JobEvent,
}
