//! What is wrong with a text, and where.

/// A text that is no calendar expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {}: {wrong}", at + 1)]
pub struct CalendarError {
    /// The place in the text, in bytes from its begin. What comes before it is ASCII.
    pub at: usize,
    /// What is wrong there.
    pub wrong: Wrong,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// Longer than a text may be.
    #[error("the text is longer than {0} bytes")]
    TooLong(usize),
    /// Something else should stand there.
    #[error("{0} is expected")]
    Expected(&'static str),
    /// A value that its field does not have.
    #[error("{field} is from {lowest} to {highest}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its lowest value.
        lowest: u32,
        /// Its highest value.
        highest: u32,
    },
    /// A number that is larger than any field's values.
    #[error("the number is too large")]
    TooLarge,
    /// A range whose end lies before its begin.
    #[error("the range ends before it begins")]
    Backwards,
    /// A range of less than a second that is gone through by seconds.
    #[error("a range of less than a second says its step, such as 1..1.5/0.1")]
    TooShort,
    /// A repetition of 0.
    #[error("a repetition is more than 0")]
    NoStep,
    /// A repetition that leads out of the field at once.
    #[error("the first repetition lies outside of the field ({0})")]
    StepTooLarge(&'static str),
    /// Too many values in one field.
    #[error("more than {0} values in a field")]
    TooManyValues(usize),
    /// A zone after seconds since 1970.
    #[error("seconds since 1970 are in UTC, in no other zone")]
    ZoneOfSeconds,
    /// A word in the place of a zone that can be no zone's name.
    #[error("this is no name of a time zone")]
    NoZoneName,
}

impl CalendarError {
    pub(super) fn new(at: usize, wrong: Wrong) -> Self {
        Self { at, wrong }
    }

    pub(super) fn expected(at: usize, what: &'static str) -> Self {
        Self::new(at, Wrong::Expected(what))
    }
}
