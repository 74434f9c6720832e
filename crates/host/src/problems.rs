//! Problems that every command may have.

use tresor_problem::{Kind, Problem};

/// A defect of ours, as a problem.
#[must_use]
pub fn internal(what: String) -> Problem {
    Kind::Internal { what }.into()
}

/// What was asked for makes no sense.
#[must_use]
pub fn usage(what: &str) -> Problem {
    Kind::UsageError {
        what: what.to_owned(),
    }
    .into()
}
