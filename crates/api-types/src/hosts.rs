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

/// A host that is to be let in.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEnrolment {
    /// What the host is called. One that is known gets a new certificate, and keeps its VMs and their points.
    pub name: String,
    /// How long the token is good, in seconds, at most 30 days. Default: an hour.
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub valid_s: Option<u32>,
}

/// A token by which one host can enrol, once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct MadeEnrolment {
    /// The token. It is shown this once.
    pub token: String,
    /// What the host is called.
    pub name: String,
    /// How long it is good, in seconds.
    pub valid_s: u32,
}
