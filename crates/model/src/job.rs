//! Jobs and sub-tasks as the user sees them.

use serde::{Deserialize, Serialize};

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Makes a recovery point.
    Backup,
    /// Brings disks back.
    Restore,
    /// Reads a recovery point back and checks it.
    Verify,
    /// Copies recovery points to another vault.
    Copy,
    /// Puts back into a vault what it has lost.
    Repair,
    /// Looks at the structure of a vault.
    Check,
    /// Removes recovery points that the rules of retention do not keep.
    Expire,
    /// Frees what no recovery point uses any more.
    Collect,
    /// Backs up the database of the installation itself.
    Catalog,
}

impl JobKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Backup,
        Self::Restore,
        Self::Verify,
        Self::Copy,
        Self::Repair,
        Self::Check,
        Self::Expire,
        Self::Collect,
        Self::Catalog,
    ];
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Recorded, not begun.
    Queued,
    /// A process works on it.
    InProgress,
    /// Done.
    Completed,
    /// Done, and something is worth reading.
    CompletedWithWarnings,
    /// Unwound after a failure.
    Failed,
    /// Being unwound on request.
    Cancelling,
    /// Unwound on request.
    Cancelled,
}

impl JobState {
    /// Whether nothing more will happen to it.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::InProgress | Self::Cancelling => false,
            Self::Completed | Self::CompletedWithWarnings | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// Where a sub-task is. Each change is recorded before the effect it announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubTaskState {
    /// Not begun.
    Pending,
    /// Its action may have had effects.
    Started,
    /// Its action is done; its output is recorded.
    Succeeded,
    /// Its action gave up.
    Failed,
    /// Its undo may have had effects.
    UndoStarted,
    /// Its undo is done.
    Undone,
    /// Its undo gave up: something of ours may be left; the reconciler goes on.
    UndoFailed,
}

/// Why a job is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnwindReason {
    /// A sub-task failed.
    Failure,
    /// Somebody asked for it.
    Cancel,
    /// Its process died, and the job cannot go on from there.
    Crash,
}

/// How much of a copy is read back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyReadBack {
    /// Nothing.
    None,
    /// A part of it, another one each time.
    #[default]
    Sample,
    /// Everything.
    All,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_are_in_the_list() {
        // A new kind has a number here, and its place in the list.
        let number = |kind| match kind {
            JobKind::Backup => 0,
            JobKind::Restore => 1,
            JobKind::Verify => 2,
            JobKind::Copy => 3,
            JobKind::Repair => 4,
            JobKind::Check => 5,
            JobKind::Expire => 6,
            JobKind::Collect => 7,
            JobKind::Catalog => 8,
        };
        let numbers: Vec<usize> = JobKind::ALL.into_iter().map(number).collect();
        assert_eq!(numbers, (0..JobKind::ALL.len()).collect::<Vec<_>>());
    }
}
