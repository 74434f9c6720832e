//! The audit log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tresor_model::AuditId;
use utoipa::{IntoParams, ToSchema};

/// A change that somebody asked for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who: the name and the id of a token.
    pub actor: String,
    /// What was done, as `docs/permissions.md` names it.
    pub action: String,
    /// To what: `item:<id>`, `policy:<name>`, `job:<id>`, `token:<id>`.
    pub object: String,
    /// How it was before.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// How it is after.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
}

/// Which entries.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only those by this one.
    pub actor: Option<String>,
    /// Only those about this.
    pub object: Option<String>,
    /// At most so many, 1 to 500. Default: 100.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}
