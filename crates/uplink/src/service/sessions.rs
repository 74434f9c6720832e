//! Whose sessions are which, in the catalog.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tresor_catalog::Catalog;
use tresor_gateway::{Asked, Sessions};
use tresor_model::{SessionId, VaultId};

/// The catalog's notes of them.
pub(super) struct CatalogSessions(pub(super) Arc<Catalog>);

#[async_trait]
impl Sessions for CatalogSessions {
    async fn owners(&self, vault: VaultId, of: &[SessionId]) -> Asked<Vec<Option<String>>> {
        Ok(self.0.session_owners(vault, of).await?)
    }

    async fn claim(&self, vault: VaultId, session: SessionId, host: &str) -> Asked<bool> {
        let claimed = self.0.claim_session(vault, session, host, Timestamp::now());
        Ok(claimed.await?)
    }
}
