//! Why somebody is not known by a provider's word.

use tresor_problem::{Kind, Problem};

/// Of what a provider says, no more is told.
const TOLD: usize = 200;

/// Why nobody was identified. The text holds no secret, code or token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OidcError {
    /// The provider cannot be reached, or does not say what a provider says.
    #[error("{issuer} cannot be used: {reason}")]
    Provider {
        /// Which provider.
        issuer: String,
        /// Why.
        reason: String,
    },
    /// The provider, or what it says, does not let somebody in.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
}

impl OidcError {
    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        let reason = one_line(&reason.into());
        Self::Refused { reason }
    }
}

impl From<&OidcError> for Problem {
    fn from(error: &OidcError) -> Self {
        match error.clone() {
            OidcError::Provider { issuer, reason } => {
                Kind::IdentityProviderUnusable { issuer, reason }.into()
            }
            OidcError::Refused { reason } => Kind::LoginRefused { reason }.into(),
        }
    }
}

/// A text of others, in one line that is not too long.
pub(crate) fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(TOLD).collect()
}

/// An error and those below it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(below) = next {
        let more = below.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = below.source();
    }
    one_line(&text)
}
