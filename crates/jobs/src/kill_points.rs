//! The moments at which a job can be cut off, made from its table of sub-tasks: a new sub-task is
//! covered by the tests of interruptions without anyone thinking of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::SubTaskSpec;

/// A moment in the life of one sub-task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The start is recorded, the action has not begun.
    Recorded,
    /// The action runs.
    During,
    /// The action is done, its success is not recorded.
    Done,
    /// The success is recorded.
    Succeeded,
    /// The start of the undo is recorded, the undo has not begun.
    UndoRecorded,
    /// The undo is done, and that is not recorded.
    Undone,
}

impl Moment {
    /// All of them, in the order of time.
    pub const ALL: [Self; 6] = [
        Self::Recorded,
        Self::During,
        Self::Done,
        Self::Succeeded,
        Self::UndoRecorded,
        Self::Undone,
    ];

    /// The word for it, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::During => "during",
            Self::Done => "done",
            Self::Succeeded => "succeeded",
            Self::UndoRecorded => "undo_recorded",
            Self::Undone => "undone",
        }
    }

    /// The moment of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|moment| moment.word() == word)
    }

    /// Whether the job is being taken back then.
    #[must_use]
    pub fn is_undo(self) -> bool {
        matches!(self, Self::UndoRecorded | Self::Undone)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A place where a job can be cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillPoint {
    /// Index of the sub-task.
    pub sub_task: usize,
    /// Its name.
    pub name: String,
    /// When.
    pub moment: Moment,
}

/// Every place where a job with this table can be cut off. What follows the sub-task that commits,
/// and that one itself, is never undone once it is done.
#[must_use]
pub fn kill_points(table: &[SubTaskSpec]) -> Vec<KillPoint> {
    let commits = table.iter().position(|spec| spec.commits);
    let undone = |index: usize| commits.is_none_or(|commits| index < commits);
    let mut points = Vec::new();
    for (index, spec) in table.iter().enumerate() {
        for moment in Moment::ALL {
            if !moment.is_undo() || undone(index) {
                points.push(KillPoint {
                    sub_task: index,
                    name: spec.name.clone(),
                    moment,
                });
            }
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(&str, bool)]) -> Vec<SubTaskSpec> {
        let spec = |(name, commits): &(&str, bool)| SubTaskSpec {
            name: (*name).to_owned(),
            limit_ms: None,
            commits: *commits,
        };
        rows.iter().map(spec).collect()
    }

    #[test]
    fn every_row_has_its_moments_and_only_what_can_be_undone_has_undo() {
        let points = kill_points(&table(&[
            ("Prepare", false),
            ("Commit", true),
            ("Tidy", false),
        ]));
        let count = |index| {
            points
                .iter()
                .filter(|point| point.sub_task == index)
                .count()
        };
        assert_eq!([count(0), count(1), count(2)], [6, 4, 4]);
        let without_commit = kill_points(&table(&[("Read", false), ("Write", false)]));
        assert_eq!(without_commit.len(), 12);
    }

    #[test]
    fn words_come_back() {
        for moment in Moment::ALL {
            assert_eq!(Moment::of_word(moment.word()), Some(moment));
            let json = serde_json::to_value(moment).expect("a word");
            assert_eq!(json, moment.word());
        }
    }
}
