//! People whom an identity provider knows.

use std::sync::Arc;

use async_trait::async_trait;
use tresor_identity::GroupRoles;
use tresor_oidc::{Identity, OidcError, Pending, Provider};
use tresor_problem::{Kind, Problem};

use crate::{Access, Principal};

/// Longest name of somebody in the audit log, in characters.
const LONGEST: usize = 200;

/// Lets in whom a provider knows, as what their groups say.
#[derive(Debug)]
pub struct Logins {
    provider: Provider,
    roles: GroupRoles,
}

impl Logins {
    /// By this provider, with these roles.
    #[must_use]
    pub fn new(provider: Provider, roles: GroupRoles) -> Self {
        Self { provider, roles }
    }

    /// What people know the provider by.
    pub(crate) fn provider(&self) -> &str {
        self.provider.shown()
    }

    /// Where a browser goes, and what it keeps.
    pub(crate) async fn begin(&self) -> Result<(String, Pending), Problem> {
        let begun = self.provider.begin().await;
        let (url, pending) = begun.map_err(|error| noted(&error))?;
        Ok((url.into(), pending))
    }

    /// Who came back.
    pub(crate) async fn finish(
        &self,
        pending: &Pending,
        state: &str,
        code: &str,
    ) -> Result<Principal, Problem> {
        let finished = self.provider.finish(pending, state, code).await;
        self.principal(&finished.map_err(|error| noted(&error))?)
    }

    async fn identify(&self, token: &str) -> Result<Principal, Problem> {
        let identified = self.provider.identify(token).await;
        self.principal(&identified.map_err(|error| noted(&error))?)
    }

    fn principal(&self, identity: &Identity) -> Result<Principal, Problem> {
        let name = self.name(identity);
        let Some(role) = self.roles.role(&identity.groups) else {
            let reason = format!("{name} is in no group that has a role here");
            return Err(Kind::LoginRefused { reason }.into());
        };
        Ok(Principal { name, role })
    }

    /// The subject is what no two have; the name is what people read.
    fn name(&self, Identity { subject, name, .. }: &Identity) -> String {
        let provider = self.provider();
        let text = match name == subject {
            true => format!("{name} at {provider}"),
            false => format!("{name} ({subject} at {provider})"),
        };
        let plain = text.chars().filter(|c| !c.is_control());
        plain.take(LONGEST).collect()
    }
}

fn noted(error: &OidcError) -> Problem {
    tracing::warn!(%error, "somebody did not log in");
    error.into()
}

/// By the provider's ID tokens, and by whatever else there is.
pub struct LoginAccess {
    logins: Arc<Logins>,
    other: Arc<dyn Access>,
}

impl LoginAccess {
    /// Bearers that are no ID tokens go to `other`.
    #[must_use]
    pub fn new(logins: Arc<Logins>, other: Arc<dyn Access>) -> Self {
        Self { logins, other }
    }
}

#[async_trait]
impl Access for LoginAccess {
    async fn authenticate(&self, bearer: &str) -> Result<Principal, Problem> {
        // An API token has no full stop, an ID token has two.
        match bearer.contains('.') {
            true => self.logins.identify(bearer).await,
            false => self.other.authenticate(bearer).await,
        }
    }
}
