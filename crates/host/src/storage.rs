//! A vault's storage itself, for whoever looks for damage.

use std::sync::Arc;

use tresor_backend::Backend;
use tresor_model::VaultId;
use tresor_problem::Problem;
use tresor_vault::Vault;
use tresor_workflows::vault_problem;

use crate::{
    keys::{self, KeyChoice},
    place::VaultPlace,
};

/// A vault's storage; and the vault, if it opens.
pub struct Storage {
    /// What is stored, and no copies of it.
    pub backend: Arc<dyn Backend>,
    /// The vault's id.
    pub id: VaultId,
    /// The vault; `None` when there was no key for it, or it does not open.
    pub vault: Option<Vault>,
    /// Why it does not open, where that is damage and no wrong key.
    pub unopened: Option<tresor_vault::Error>,
}

impl Storage {
    /// Opens a vault as far as there is a key for it: without one its storage can be looked after too.
    ///
    /// # Errors
    /// What the storage, a key that is there or the vault say.
    pub async fn open(place: &VaultPlace, key: &KeyChoice) -> Result<Self, Problem> {
        let location = place.location.to_string();
        let failed = |error| vault_problem(&error, &location);
        let backend = place.location.open(None).await?;
        let id = Vault::identify(backend.clone()).await.map_err(failed)?;
        let mut storage = Self {
            backend,
            id,
            vault: None,
            unopened: None,
        };
        let key = match keys::find(key, place.key_file.as_deref(), &location) {
            Ok(key) => key,
            Err(problem) if problem.is("VaultKeyMissing") => return Ok(storage),
            Err(problem) => return Err(problem),
        };
        match Vault::open(storage.backend.clone(), &key).await {
            Ok(vault) => storage.vault = Some(vault),
            Err(error) if error.is_damage() => storage.unopened = Some(error),
            Err(error) => return Err(failed(error)),
        }
        Ok(storage)
    }
}
