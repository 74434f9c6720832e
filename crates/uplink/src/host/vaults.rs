//! The vaults that a host reaches, through the service or past it.
//!
//! # Keys
//! The host makes a key for each vault, and has it on its disk before it tells the service. The service makes
//! a domain for it, once: a key that opens one already is the answer to an earlier call.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::{sleep, timeout};
use tresor_backend::{
    Backend,
    wrap::{Kept, Throttled},
};
use tresor_gateway::GatewayBackend;
use tresor_host::{StateDir, internal, keys};
use tresor_host_link::{Connections, Vaults, wire::problem_of};
use tresor_model::VaultId;
use tresor_problem::{Kind, Problem};
use tresor_vault::{KeyMaterial, Vault};
use tresor_workflows::{storage_problem, vault_problem};
use zeroize::Zeroizing;

use super::Shortcuts;
use crate::wire;

/// Objects of which copies are kept here: as of vaults that are reached without a service.
const KEPT: &[&str] = &["sessions/", "states/"];
/// For a connection and an answer, all tries together.
const LIMIT: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(500);

/// Opens them.
#[derive(Debug, Clone)]
pub struct HostVaults {
    state: StateDir,
    connections: Connections,
    shortcuts: Arc<Shortcuts>,
}

impl HostVaults {
    /// The vaults of a host with that state directory.
    #[must_use]
    pub fn new(state: StateDir, connections: Connections, shortcuts: Shortcuts) -> Self {
        Self {
            state,
            connections,
            shortcuts: Arc::new(shortcuts),
        }
    }

    /// The vault's storage, past the service where that is proven to be no harm.
    async fn reach(
        &self,
        name: &str,
        upload_limit: Option<NonZeroU64>,
        location: &str,
    ) -> Result<Arc<dyn Backend>, Problem> {
        if let Some(direct) = self.shortcuts.proven(name).await? {
            return direct.open(upload_limit).await;
        }
        let opened = GatewayBackend::open(self.connections.clone(), name, Default::default()).await;
        let backend = opened.map_err(|error| storage_problem(&error, location))?;
        Ok(match upload_limit {
            Some(limit) => Arc::new(Throttled::uploads(backend, limit)),
            None => Arc::new(backend),
        })
    }

    /// The key of this host for a vault. One that is not there is made.
    fn key(&self, vault: &str) -> Result<Zeroizing<Vec<u8>>, Problem> {
        // The name comes from the service, and becomes one of a file.
        let plain = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
        if vault.is_empty() || vault.starts_with('.') || !vault.chars().all(plain) {
            let location = format!("vault {vault:?}");
            return Err(Kind::VaultNotFound { location }.into());
        }
        let path = self.state.key_file(vault);
        if !path.exists() {
            let made = keys::write_key_file(&path, &keys::generate()?);
            made.map_err(|error| {
                let file = path.display();
                internal(format!("The key file {file} cannot be made: {error}."))
            })?;
        }
        keys::read_secret(&path)
    }

    /// Tells the service that this key is to open the vault, and learns which vault it is.
    async fn enter(&self, vault: &str, key: &[u8]) -> Result<VaultId, Problem> {
        let asked = wire::Enter {
            vault: vault.to_owned(),
            key: wire::encode(key),
        };
        let mut connections = self.connections.clone();
        let entered = async {
            loop {
                let found = connections.wait_for(Option::is_some).await;
                let found = found.map_err(|error| away(&error.to_string()))?.clone();
                let Some(connection) = found else { continue };
                let answered = connection.call_json::<_, wire::Entered>(wire::ENTER, &asked);
                match answered.await {
                    Ok(entered) => return Ok(entered.id),
                    Err(error) => match error.failure() {
                        Some(failure) => return Err(problem_of(failure)),
                        None => tracing::debug!(%error, "a vault could not be asked for yet"),
                    },
                }
                sleep(PAUSE).await;
            }
        };
        let entered = timeout(LIMIT, entered).await;
        entered.unwrap_or_else(|_| Err(away("there was no connection")))
    }
}

fn away(reason: &str) -> Problem {
    Kind::ServiceUnreachable {
        server: "The service".to_owned(),
        reason: reason.to_owned(),
    }
    .into()
}

#[async_trait]
impl Vaults for HostVaults {
    async fn open(&self, name: &str, upload_limit: Option<NonZeroU64>) -> Result<Vault, Problem> {
        let key = self.key(name)?;
        let id = self.enter(name, &key).await?;
        let location = format!("vault {name} at the service");
        let backend = self.reach(name, upload_limit, &location).await?;
        let copies = self.state.sessions_cache().join(id.to_string());
        let backend = Arc::new(Kept::new(backend, copies, KEPT));
        let vault = Vault::open(backend, &KeyMaterial::KeyFile(key)).await;
        let vault = vault.map_err(|error| vault_problem(&error, &location))?;
        if vault.id() != id {
            let what = format!(
                "The service calls {location} {id}, and it is {}.",
                vault.id()
            );
            return Err(internal(what));
        }
        Ok(vault)
    }
}
