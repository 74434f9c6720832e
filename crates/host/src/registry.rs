//! What the host role is told of VMs and vaults, and what it tells.

use std::{num::NonZeroU64, sync::Arc};

use async_trait::async_trait;
use tresor_catalog::{Catalog, PointRecord, VmRecord};
use tresor_model::{MachineDefinition, RecoveryPoint, VaultId, VmId};
use tresor_problem::Problem;
use tresor_vault::Vault;

use crate::{
    keys::KeyChoice,
    place::{Manner, VaultPlace, open_vault_at},
    state::StateDir,
};

/// What is known of VMs and vaults, wherever it is kept.
#[async_trait]
pub trait Registry: Send + Sync {
    /// A VM.
    ///
    /// # Errors
    /// `VmNotFound`, and what reaching the registry says.
    async fn vm(&self, vm: VmId) -> Result<VmRecord, Problem>;

    /// A vault, opened for a backup that stores at most so many bytes per second.
    ///
    /// # Errors
    /// What opening a vault says.
    async fn vault(&self, name: &str, upload_limit: Option<NonZeroU64>) -> Result<Vault, Problem>;

    /// Notes the machine of a VM as it was just seen running.
    ///
    /// # Errors
    /// What reaching the registry says.
    async fn note_machine(&self, vm: &str, machine: &MachineDefinition) -> Result<(), Problem>;

    /// Notes a recovery point that is in the vault.
    ///
    /// # Errors
    /// What reaching the registry says.
    async fn note_point(&self, vault: VaultId, point: &RecoveryPoint) -> Result<(), Problem>;

    /// The catalog, where this host has it: vaults as wholes are looked after there only.
    fn catalog(&self) -> Option<&Catalog> {
        None
    }
}

/// A catalog in this process, with keys where it says that they are.
pub struct LocalRegistry {
    catalog: Arc<Catalog>,
    state: StateDir,
}

impl LocalRegistry {
    /// The registry of a state directory.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, state: StateDir) -> Self {
        Self { catalog, state }
    }
}

#[async_trait]
impl Registry for LocalRegistry {
    async fn vm(&self, vm: VmId) -> Result<VmRecord, Problem> {
        let found = self.catalog.vm_by_id(vm).await;
        found.map_err(|error| Problem::from(&error))
    }

    async fn vault(&self, name: &str, upload_limit: Option<NonZeroU64>) -> Result<Vault, Problem> {
        let entry = self.catalog.vault(name).await;
        let place = VaultPlace::of(&entry.map_err(|error| Problem::from(&error))?)?;
        let manner = Manner {
            upload_limit,
            copies: Some(&self.state.sessions_cache()),
            ..Manner::default()
        };
        open_vault_at(&place, &KeyChoice::default(), manner).await
    }

    async fn note_machine(&self, vm: &str, machine: &MachineDefinition) -> Result<(), Problem> {
        let noted = self.catalog.set_vm_machine(vm, machine).await;
        noted.map_err(|error| Problem::from(&error))
    }

    async fn note_point(&self, vault: VaultId, point: &RecoveryPoint) -> Result<(), Problem> {
        let noted = self
            .catalog
            .upsert_point(&PointRecord::of(point, vault))
            .await;
        noted.map_err(|error| Problem::from(&error))
    }

    fn catalog(&self) -> Option<&Catalog> {
        Some(&self.catalog)
    }
}
