//! Alerts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_model::AlertId;
use tresor_problem::Problem;
use utoipa::{IntoParams, ToSchema};

use crate::ProblemView;

/// A problem that somebody should look at.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AlertView {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub id: AlertId,
    /// What it is about: a VM's name, for example.
    pub subject: String,
    /// What it is, as it was last.
    #[schema(value_type = ProblemView)]
    pub problem: Problem,
    /// Since when.
    pub since: Timestamp,
    /// When it was seen last.
    pub last_seen_at: Timestamp,
    /// How often it was seen.
    pub count: u64,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
}

/// Which alerts.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertQuery {
    /// Only those about this.
    pub subject: Option<String>,
    /// Only those that are not over.
    #[serde(default)]
    #[param(required = false)]
    pub open: bool,
    /// At most so many, 1 to 500. Default: 100.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}
