//! A vault that is known: where it lies, and how it is opened.

use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
};

use tresor_backend::{
    Backend,
    wrap::{Kept, Throttled},
};
use tresor_catalog::VaultRecord;
use tresor_model::VerifyShare;
use tresor_problem::Problem;
use tresor_vault::Vault;
use tresor_workflows::vault_problem;

use crate::{
    keys::{self, KeyChoice},
    location::Location,
};

/// The objects of which copies are kept: small, and asked for by every backup.
const KEPT: &[&str] = &["sessions/", "states/"];

/// How the catalog notes that a key lies in a file.
pub const KEY_FILE: &str = "file:";

/// A vault that was found, not opened yet.
#[derive(Debug, Clone)]
pub struct VaultPlace {
    /// Its name, if this machine knows it.
    pub name: Option<String>,
    /// Where it lies.
    pub location: Location,
    /// How much of it is read back after each backup.
    pub verify_share: Option<VerifyShare>,
    /// The key file that was made with it.
    pub key_file: Option<PathBuf>,
}

impl VaultPlace {
    /// A place that the catalog does not know.
    pub fn at(location: Location) -> Self {
        Self {
            name: None,
            location,
            verify_share: None,
            key_file: None,
        }
    }

    /// The place that the catalog knows.
    ///
    /// # Errors
    /// `StateUnusable` when the catalog holds what this program does not write.
    pub fn of(entry: &VaultRecord) -> Result<Self, Problem> {
        let key_file = entry.key_source.strip_prefix(KEY_FILE).map(Into::into);
        Ok(Self {
            name: Some(entry.name.clone()),
            location: Location::of(entry)?,
            verify_share: entry.verify_share,
            key_file,
        })
    }
}

/// How a vault is used, but for the usual.
#[derive(Debug, Default)]
pub struct Manner<'a> {
    /// Store at most so many bytes per second in it.
    pub upload_limit: Option<NonZeroU64>,
    /// Move at most so many bytes per second from it and to it.
    pub read_limit: Option<NonZeroU64>,
    /// Keep copies of the ends of sessions here: a backup looks at all of them, and their number
    /// grows. Not for whoever looks for damage.
    pub copies: Option<&'a Path>,
}

/// Opens a vault.
///
/// # Errors
/// What the storage, the key or the vault say.
pub async fn open_vault_at(
    place: &VaultPlace,
    key: &KeyChoice,
    manner: Manner<'_>,
) -> Result<Vault, Problem> {
    let location = place.location.to_string();
    let backend = place.location.open(manner.upload_limit).await?;
    let backend: Arc<dyn Backend> = match manner.read_limit {
        Some(limit) => Arc::new(Throttled::new(backend, limit)),
        None => backend,
    };
    let failed = |error| vault_problem(&error, &location);
    // Whoever has no vault there needs no key for it.
    let id = Vault::identify(backend.clone()).await.map_err(failed)?;
    let backend: Arc<dyn Backend> = match manner.copies {
        Some(cache) => Arc::new(Kept::new(backend, cache.join(id.to_string()), KEPT)),
        None => backend,
    };
    let key = keys::find(key, place.key_file.as_deref(), &location)?;
    Vault::open(backend, &key).await.map_err(failed)
}
