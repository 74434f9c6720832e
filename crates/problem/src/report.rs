//! One occurrence of a problem, as it is stored, printed and sent.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ExitClass, Fault, Kind, Retry};

/// A problem that happened: the text a user reads, plus the operator's detail.
///
/// It is self-contained (text included), so that a job log stays readable after an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable code.
    pub code: String,
    /// One line.
    pub title: String,
    /// Why it happened.
    pub cause: String,
    /// What to do, in order.
    pub remedy: Vec<String>,
    /// Whether a retry helps.
    pub retry: Retry,
    /// Who can fix it.
    pub fault: Fault,
    /// The exit code's class.
    pub exit: ExitClass,
    /// The typed details, by name.
    #[serde(default)]
    pub fields: std::collections::BTreeMap<String, String>,
    /// The chain of internal errors below, outermost first: for the operator, never needed to act.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
}

impl Problem {
    /// A problem with the chain of the error that led to it.
    #[must_use]
    pub fn caused_by(kind: Kind, source: &(dyn std::error::Error + 'static)) -> Self {
        let mut problem = Self::from(kind);
        let mut next = Some(source);
        while let Some(error) = next {
            problem.detail.push(error.to_string());
            next = error.source();
        }
        problem
    }

    /// Whether this is the problem with that code.
    #[must_use]
    pub fn is(&self, code: &str) -> bool {
        self.code == code
    }
}

impl From<Kind> for Problem {
    fn from(kind: Kind) -> Self {
        let code = kind.code();
        // The macro writes one entry for each variant, so the code is always found.
        let entry = Kind::ENTRIES
            .iter()
            .find(|entry| entry.code == code)
            .unwrap_or(&Kind::ENTRIES[0]);
        Self {
            code: code.to_owned(),
            title: entry.title.to_owned(),
            cause: kind.cause(),
            remedy: kind.remedy(),
            retry: entry.retry,
            fault: entry.fault,
            exit: entry.exit,
            fields: kind
                .fields()
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            detail: Vec::new(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.cause)
    }
}

impl std::error::Error for Problem {}
