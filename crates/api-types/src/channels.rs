//! Channels: ways by which notifications go out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A channel.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChannelView {
    /// Its name.
    pub name: String,
    /// Its settings (docs/monitoring.md), without the path of a webhook's URL; `null`: this release does not know them.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Value>,
    /// Whether it has a secret: a webhook's signing key, or a mail server's password.
    pub has_secret: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When something was last sent by it.
    pub last_sent_at: Option<Timestamp>,
    /// Since when nothing gets through.
    pub failing_since: Option<Timestamp>,
    /// Why.
    pub failure: Option<String>,
}

/// All channels.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChannelList {
    /// By name.
    pub items: Vec<ChannelView>,
}

/// A channel to be made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChannel {
    /// Its settings: docs/monitoring.md.
    #[schema(value_type = Object)]
    pub settings: Value,
    /// A webhook's signing key, or a mail server's password. A channel that is replaced and whose `secret` is missing has none.
    pub secret: Option<String>,
}
