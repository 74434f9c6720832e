//! Who somebody is, by the word of an `OpenID` Connect provider.
//!
//! The authorization code flow with PKCE (`OpenID` Connect Core 1.0 §3.1, RFC 7636), and the ID tokens that come of it.
//! What must hold: a token counts only when the provider's own key signed it for this client, with an algorithm of
//! public keys, and it has not ended; a code counts only in the browser that asked for it; nothing the provider
//! says is read before its size is bounded; the client's secret goes to the provider only.
//!
//! Nothing is kept but what the provider says of itself and its keys, which are asked for again: a crash loses nothing.

mod error;
mod http;
mod id_token;
mod keys;
mod metadata;
mod pending;
mod provider;
mod settings;

pub use error::OidcError;
pub use id_token::Identity;
pub use pending::Pending;
pub use provider::Provider;
pub use reqwest::Certificate;
pub use settings::{Settings, certificates};

/// Where the provider sends a browser back to, at the service.
pub const CALLBACK: &str = "/login/oidc/callback";
