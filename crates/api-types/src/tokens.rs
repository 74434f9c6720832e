//! Tokens of the API.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_model::{TokenId, TokenRole};
use utoipa::ToSchema;

/// A token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub id: TokenId,
    /// What its owner calls it.
    pub name: String,
    /// `admin`, `operator` or `reader`.
    #[schema(value_type = String)]
    pub role: TokenRole,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its end.
    pub expires_at: Option<Timestamp>,
    /// When it was used last, roughly.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A token that was made.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct MadeToken {
    /// The token, for `Authorization: Bearer …`. It is shown this once.
    pub secret: String,
    /// What is known of it.
    pub token: TokenView,
}

/// A token to be made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What to call it: 1 to 100 characters.
    pub name: String,
    /// `admin`, `operator` or `reader`.
    #[schema(value_type = String)]
    pub role: TokenRole,
    /// Its end. Default: none.
    pub expires_at: Option<Timestamp>,
}
