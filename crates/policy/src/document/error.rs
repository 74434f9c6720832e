//! What can be wrong with a policy, and in which field.

use crate::{calendar::UnknownZone, length::Length, rules::RulesError};

/// A field of a policy that cannot be as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {wrong}")]
pub struct PolicyError {
    /// The field, as a path: `schedules[0].zone`.
    pub field: String,
    /// What is wrong with it.
    pub wrong: PolicyProblem,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyProblem {
    /// A name of other characters, or too long a one.
    #[error("a name is 1 to 63 letters, digits, `.`, `_` and `-`, a letter or digit first")]
    Name,
    /// A policy without a schedule, or one with very many.
    #[error("{found} entries; {lowest} to {highest} are possible")]
    Count {
        /// How many there are.
        found: usize,
        /// The fewest.
        lowest: usize,
        /// The most.
        highest: usize,
    },
    /// A length of time outside of its limits.
    #[error("{found} is not from {lowest} to {highest}")]
    Length {
        /// What it is.
        found: Length,
        /// The shortest.
        lowest: Length,
        /// The longest.
        highest: Length,
    },
    /// A number outside of its limits.
    #[error("{found} is not from {lowest} to {highest}")]
    Number {
        /// What it is.
        found: u32,
        /// The lowest.
        lowest: u32,
        /// The highest.
        highest: u32,
    },
    /// There is no such zone.
    #[error(transparent)]
    Zone(#[from] UnknownZone),
    /// The expression names a zone, and so does the field beside it.
    #[error("the calendar expression names a zone as well")]
    ZoneTwice,
    /// More than one moment a minute.
    #[error("this is due more than once a minute")]
    TooOften,
    /// A schedule of the past, or a day that does not exist.
    #[error("this is never due")]
    Never,
    /// Blackouts cover everything.
    #[error("no backup can ever start: blackouts cover all start windows")]
    Covered,
    /// A duration of the retention rules that is none.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// More is called the lowest than is wanted.
    #[error("the lowest consistency is above the one that is wanted")]
    LowestAboveWanted,
    /// The pauses begin longer than they may get.
    #[error("the first pause is longer than the longest")]
    FirstPauseLonger,
}
