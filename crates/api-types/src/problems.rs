//! Problems: how one that happened looks, and what the catalog knows of each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
#[cfg(doc)]
use tresor_problem::Problem;
use tresor_problem::{ExitClass, Fault, Retry};
use utoipa::ToSchema;

/// A problem that happened. This is how [`Problem`] is described; a test holds the two together.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemView {
    /// Stable name: `/api/v1/problems/{code}` has what is known of it.
    pub code: String,
    /// One line.
    pub title: String,
    /// Why it happened.
    pub cause: String,
    /// What to do, in order.
    pub remedy: Vec<String>,
    /// Whether the same again can succeed: `helps`, `after_remedy` or `never`.
    #[schema(value_type = String)]
    pub retry: Retry,
    /// Who can mend it: `usage`, `guest`, `host`, `storage` or `tresor`.
    #[schema(value_type = String)]
    pub fault: Fault,
    /// The class of the exit code that the command line has for it.
    #[schema(value_type = String)]
    pub exit: ExitClass,
    /// The details, by name.
    pub fields: BTreeMap<String, String>,
    /// Internal errors, for the operator: only in what jobs recorded.
    #[schema(required = false)]
    pub detail: Vec<String>,
}

/// What is known of a problem.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProblemEntry {
    /// Stable name.
    pub code: String,
    /// One line.
    pub title: String,
    /// Why it happens, with `{field}` in place of details.
    pub cause: String,
    /// What to do, in order.
    pub remedy: Vec<String>,
    /// Whether the same again can succeed: `helps`, `after_remedy` or `never`.
    #[schema(value_type = String)]
    pub retry: Retry,
    /// Who can mend it: `usage`, `guest`, `host`, `storage` or `tresor`.
    #[schema(value_type = String)]
    pub fault: Fault,
    /// The class of the exit code that the command line has for it.
    #[schema(value_type = String)]
    pub exit: ExitClass,
}
