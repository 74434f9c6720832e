//! Who asks.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tresor_catalog::{Catalog, CatalogErrorKind, TokenRole};
use tresor_identity::{ApiToken, Role, TokenHash};
use tresor_problem::{Kind, Problem};

/// A use is noted when the last one that was noted is so long ago: each note is a write.
const NOTE_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// Somebody who has proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// What the audit log calls them; no two have the same.
    pub name: String,
    /// As whom they act.
    pub role: Role,
}

/// Tells who a bearer token belongs to.
#[async_trait]
pub trait Access: Send + Sync {
    /// # Errors
    /// `ApiTokenInvalid`; what keeps the tokens may fail.
    async fn authenticate(&self, bearer: &str) -> Result<Principal, Problem>;
}

/// By the catalog's tokens.
pub struct TokenAccess {
    catalog: Arc<Catalog>,
}

impl TokenAccess {
    /// By the tokens of this catalog.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog }
    }
}

#[async_trait]
impl Access for TokenAccess {
    async fn authenticate(&self, bearer: &str) -> Result<Principal, Problem> {
        let token: ApiToken = bearer
            .parse()
            .map_err(|error: tresor_identity::TokenError| error.api_problem())?;
        let record = match self.catalog.token(token.id()).await {
            Ok(record) => record,
            // Not told apart from a wrong secret.
            Err(error) if matches!(error.kind, CatalogErrorKind::NotFound(_)) => {
                return Err(invalid("it is not known here"));
            }
            Err(error) => return Err(Problem::from(&error)),
        };
        let kept: Option<TokenHash> = record.hash.as_str().parse().ok();
        if kept != Some(token.hash()) {
            return Err(invalid("it is not known here"));
        }
        let now = Timestamp::now();
        if record.revoked_at.is_some() {
            return Err(invalid("it was revoked"));
        }
        if !record.is_valid(now) {
            return Err(invalid("it has expired"));
        }
        let noted = record.last_used_at;
        if noted.is_none_or(|last| now.duration_since(last) > NOTE_EVERY)
            && let Err(error) = self.catalog.note_token_used(record.id, now).await
        {
            tracing::warn!(%error, "the use of a token could not be noted");
        }
        Ok(Principal {
            name: format!("{} ({})", record.name, record.id),
            role: role_of(record.role),
        })
    }
}

fn invalid(reason: &str) -> Problem {
    let reason = reason.to_owned();
    Kind::ApiTokenInvalid { reason }.into()
}

pub(crate) fn role_of(role: TokenRole) -> Role {
    match role {
        TokenRole::Admin => Role::Admin,
        TokenRole::Operator => Role::Operator,
        TokenRole::Reader => Role::Reader,
    }
}
