//! Policies.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_policy::Policy;
use utoipa::ToSchema;

/// A policy.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PolicyView {
    /// Rises by one with each change; its ETag.
    pub revision: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// The longest gap between recovery points that it promises, in seconds.
    pub longest_gap_s: Option<i64>,
    /// The document: `docs/policies.md` is its manual.
    #[schema(value_type = Object)]
    pub policy: Policy,
}
