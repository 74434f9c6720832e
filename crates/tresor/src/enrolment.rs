//! Tokens by which hosts enrol, made by whoever has the authority's certificate.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use tresor_api::Enrol;
use tresor_catalog::Catalog;
use tresor_identity::{Fingerprint, Trust};
use tresor_problem::Problem;
use zeroize::Zeroizing;

/// Lets hosts in that go by this authority.
pub(crate) struct Enrolments {
    catalog: Arc<Catalog>,
    authority: Fingerprint,
}

impl Enrolments {
    pub(crate) fn new(catalog: Arc<Catalog>, authority: Fingerprint) -> Self {
        Self { catalog, authority }
    }

    /// By the authority in the state directory; `None`: no service has run there yet.
    pub(crate) fn in_state(catalog: &Arc<Catalog>, state: &Path) -> Result<Option<Self>, Problem> {
        let file = state.join("identity/ca.crt");
        if !file.exists() {
            return Ok(None);
        }
        let trust = Trust::from_file(&file).map_err(|error| Problem::from(&error))?;
        let authority = trust.fingerprints().into_iter().next();
        Ok(authority.map(|authority| Self::new(Arc::clone(catalog), authority)))
    }
}

#[async_trait]
impl Enrol for Enrolments {
    async fn token(&self, name: &str, valid: Duration) -> Result<Zeroizing<String>, Problem> {
        tresor_uplink::new_enrolment(&self.catalog, self.authority, name, valid).await
    }
}
