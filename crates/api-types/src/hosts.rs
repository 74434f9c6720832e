//! Hosts that have enrolled.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tresor_model::{HostId, HostState};
use utoipa::ToSchema;

/// A host. The machine that the service runs on is none.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HostView {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub id: HostId,
    /// What it is called.
    pub name: String,
    /// `enrolled` or `revoked`.
    #[schema(value_type = String)]
    pub state: HostState,
    /// When it enrolled.
    pub enrolled_at: Timestamp,
    /// Its last sign of life.
    pub last_seen: Option<Timestamp>,
    /// The version of its Tresor.
    pub version: Option<String>,
    /// What it can do.
    #[schema(value_type = Object)]
    pub capabilities: Value,
}
