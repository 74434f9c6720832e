//! The answer to a request that failed.

use serde::{Deserialize, Serialize};
use tresor_problem::Problem;
use utoipa::ToSchema;

use crate::ProblemView;

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// The field, as a path: `schedules[0].zone`.
    pub field: String,
    /// What is wrong with it.
    pub wrong: String,
}

/// The answer to a request that failed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FailureBody {
    /// What happened, why, and what to do.
    #[serde(flatten)]
    #[schema(value_type = ProblemView)]
    pub problem: Problem,
    /// What is wrong, field by field, where fields are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldError>,
}
