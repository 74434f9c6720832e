//! The vaults that hosts may use: opened once, by the service's own key, and shared.
//!
//! # Invariants
//! - A host gets a vault that a VM of its own is to be stored in, and no other.
//! - In a vault it has a domain of its own. Its key makes one, or opens the one that was made.
//! - A host makes few domains ([`DOMAINS`]): what it could fill the vault's list of keys with is bounded.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tresor_backend::Backend;
use tresor_catalog::{Catalog, VaultRecord};
use tresor_gateway::{Asked, HostAccess, KeyNumbers, Share, Tenant, VaultSide};
use tresor_host::{KeyChoice, VaultPlace, keys};
use tresor_model::HostId;
use tresor_problem::{Kind, Problem};
use tresor_vault::{ErrorKind, KeyMaterial, Vault};
use tresor_vault_format::DomainId;
use tresor_workflows::vault_problem;

use super::sessions::CatalogSessions;

/// Domains that one host has made: one, and some for keys that it lost.
const DOMAINS: usize = 8;

/// Opens vaults for hosts.
pub(super) struct Vaults {
    catalog: Arc<Catalog>,
    open: Mutex<HashMap<String, Arc<Opened>>>,
}

/// A vault, as the service has it.
struct Opened {
    record: VaultRecord,
    owner: Vault,
    backend: Arc<dyn Backend>,
    side: Arc<VaultSide>,
    /// One domain is made at a time.
    making: tokio::sync::Mutex<()>,
}

struct Numbers(Vault);

#[async_trait]
impl KeyNumbers for Numbers {
    async fn domain_of(&self, number: u32) -> Asked<Option<DomainId>> {
        Ok(self.0.domain_of_number(number).await?)
    }
}

impl Vaults {
    pub(super) fn new(catalog: Arc<Catalog>) -> Self {
        Self {
            catalog,
            open: Mutex::default(),
        }
    }

    /// What a host with that key for a vault gets of it.
    pub(super) async fn share(
        &self,
        host: HostId,
        vault: &str,
        key: KeyMaterial,
    ) -> Result<Share, Problem> {
        self.is_its(host, vault).await?;
        let opened = self.opened(vault).await?;
        let ring = opened.ring(host, &key).await?;
        let domain = opened.owner.domain_of_host(ring);
        let domain = domain.map_err(|error| opened.problem(&error))?;
        let tenant = Tenant { ring, domain };
        Ok(Share {
            id: opened.owner.id(),
            backend: Arc::clone(&opened.backend),
            access: Arc::new(HostAccess::new(
                Arc::clone(&opened.side),
                &host.to_string(),
                tenant,
            )),
        })
    }

    /// Whether a VM of the host goes there. Which other vaults there are is not its to know.
    async fn is_its(&self, host: HostId, vault: &str) -> Result<(), Problem> {
        let has = self.catalog.host_has_vault(host, vault).await;
        if has.map_err(|error| Problem::from(&error))? {
            return Ok(());
        }
        let location = format!("vault {vault} for a VM of this host");
        Err(Kind::VaultNotFound { location }.into())
    }

    async fn opened(&self, name: &str) -> Result<Arc<Opened>, Problem> {
        let record = self.catalog.vault(name).await;
        let record = record.map_err(|error| Problem::from(&error))?;
        let known = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.get(name).cloned()
        };
        if let Some(known) = known.filter(|known| known.record == record) {
            return Ok(known);
        }
        let opened = Arc::new(Opened::open(record, Arc::clone(&self.catalog)).await?);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(name.to_owned(), Arc::clone(&opened));
        Ok(opened)
    }
}

impl Opened {
    async fn open(record: VaultRecord, catalog: Arc<Catalog>) -> Result<Self, Problem> {
        let place = VaultPlace::of(&record)?;
        let location = place.location.to_string();
        let backend = place.location.open(None).await?;
        let key = keys::find(&KeyChoice::default(), place.key_file.as_deref(), &location)?;
        let owner = Vault::open(Arc::clone(&backend), &key).await;
        let owner = owner.map_err(|error| vault_problem(&error, &location))?;
        let side = VaultSide::new(
            owner.id(),
            Arc::clone(&backend),
            Arc::new(Numbers(owner.clone())),
            Arc::new(CatalogSessions(catalog)),
        );
        Ok(Self {
            record,
            owner,
            backend,
            side: Arc::new(side),
            making: tokio::sync::Mutex::new(()),
        })
    }

    fn problem(&self, error: &tresor_vault::Error) -> Problem {
        vault_problem(error, self.owner.location())
    }

    /// The ring that the key opens; it is made when there is none.
    async fn ring(&self, host: HostId, key: &KeyMaterial) -> Result<uuid::Uuid, Problem> {
        let _one = self.making.lock().await;
        match Vault::open(Arc::clone(&self.backend), key).await {
            Ok(known) if known.is_of_one_domain() => return Ok(known.ring()),
            // Somebody has given the host the vault's own key: what it holds is not for a gateway to bound.
            Ok(_) => {
                let what = format!(
                    "Host {host} has a key of vault {} itself.",
                    self.record.name
                );
                return Err(Kind::UsageError { what }.into());
            }
            Err(error) if matches!(error.kind(), ErrorKind::KeyRejected) => {}
            Err(error) => return Err(self.problem(&error)),
        }
        let label = format!("host {host}");
        let slots = self.owner.key_slots().await;
        let slots = slots.map_err(|error| self.problem(&error))?.slots;
        if slots.iter().filter(|slot| slot.label == label).count() >= DOMAINS {
            let location = self.record.name.clone();
            return Err(Kind::HostKeysUsedUp { location }.into());
        }
        let made = self.owner.add_host_domain(key, &label).await;
        let made = made.map_err(|error| self.problem(&error))?;
        tracing::info!(%host, vault = self.record.name, slot = %made.slot, "the host has a domain now");
        Ok(made.ring)
    }
}
