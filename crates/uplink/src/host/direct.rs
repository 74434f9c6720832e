//! Vaults that a host reaches in an object store itself, past the service.
//!
//! # Invariant
//! Only where it was seen, with the host's own credentials and since it started, that the store refuses to
//! replace and to remove what is there. Else the host goes through the service, whose gateway refuses it.

use std::collections::BTreeMap;

use tokio::sync::OnceCell;
use tresor_backend::ObjectName;
use tresor_backend_object::Powers;
use tresor_host::{Location, internal};
use tresor_model::HostId;
use tresor_problem::Problem;
use tresor_workflows::storage_problem;

/// Where the trials lie: no object of a vault is called so.
const AREA: &str = "doctor-host-";

/// A vault that may be reached so.
#[derive(Debug)]
struct Shortcut {
    location: Location,
    powers: OnceCell<Powers>,
}

/// Those that the host's administrator named.
#[derive(Debug)]
pub struct Shortcuts {
    host: HostId,
    by_vault: BTreeMap<String, Shortcut>,
}

impl Shortcuts {
    /// Of this host, by the vaults' names at the service.
    #[must_use]
    pub fn new(host: HostId, locations: impl IntoIterator<Item = (String, Location)>) -> Self {
        let shortcut = |(vault, location)| {
            let powers = OnceCell::new();
            (vault, Shortcut { location, powers })
        };
        let by_vault = locations.into_iter().map(shortcut).collect();
        Self { host, by_vault }
    }

    /// Where the vault is reached, when it may be. What is found out is kept until the host ends; a store that
    /// failed meanwhile is asked again the next time.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn proven(&self, vault: &str) -> Result<Option<&Location>, Problem> {
        let Some(shortcut) = self.by_vault.get(vault) else {
            return Ok(None);
        };
        let powers = shortcut.powers.get_or_try_init(|| async {
            let powers = self.examine(&shortcut.location).await?;
            tell(vault, &shortcut.location, powers);
            Ok::<_, Problem>(powers)
        });
        let proven = *powers.await? == Powers::AppendOnly;
        Ok(proven.then_some(&shortcut.location))
    }

    async fn examine(&self, location: &Location) -> Result<Powers, Problem> {
        let name = format!("{AREA}{}/trial", self.host);
        let name = ObjectName::new(name).map_err(|error| internal(error.to_string()))?;
        let powers = location.object_store()?.powers(&name).await;
        powers.map_err(|error| storage_problem(&error, &location.to_string()))
    }
}

fn tell(vault: &str, location: &Location, powers: Powers) {
    let can = match powers {
        Powers::AppendOnly => {
            tracing::info!(vault, %location, "the vault is reached directly: nothing there can be replaced or removed");
            return;
        }
        Powers::Overwrite => "replace what is there",
        Powers::Delete => "remove what is there",
    };
    tracing::warn!(vault, %location, "the vault is reached through the service: this host's own credentials can {can}");
}
