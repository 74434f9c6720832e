//! Where a vault lies, and the stack of a backend for it.

use std::{
    fmt,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
};

use tresor_backend::{
    Backend, LocalBackend,
    wrap::{Backoff, Paced, Retrying, Throttled},
};
use tresor_backend_object::{ObjectBackend, Place, Secrets, Settings};
use tresor_catalog::VaultRecord;
use tresor_problem::{Kind, Problem};
use tresor_workflows::storage_problem;

use crate::{keys, problems::usage, state::absolute};

/// Longer than for a disk: a busy store says "later" for a while.
const BACKOFF: Backoff = Backoff {
    attempts: 8,
    first: std::time::Duration::from_millis(200),
    longest: std::time::Duration::from_secs(10),
};

/// A directory of this machine, or a place in an object store.
#[derive(Debug, Clone)]
pub enum Location {
    /// The directory, as an absolute path.
    Directory(PathBuf),
    /// The place, and how to reach it.
    Store(Place, Settings),
}

impl Location {
    /// Reads what a user gave.
    ///
    /// # Errors
    /// `UsageError` for a URL that is none, or for options of a store with a directory.
    pub fn read(text: &Path, settings: Settings) -> Result<Self, Problem> {
        let place = text.to_str().and_then(Place::parse);
        match place {
            Some(place) => {
                let place = place.map_err(|error| usage(&format!("{error}.")))?;
                Ok(Self::Store(place, settings))
            }
            None if settings != Settings::default() => Err(usage(
                "Options for an object store were given with a directory: name an s3://, az:// or gs:// URL.",
            )),
            None => Ok(Self::Directory(absolute(text))),
        }
    }

    /// Where the catalog says that a vault lies.
    ///
    /// # Errors
    /// When the catalog holds what this program does not write.
    pub fn of(entry: &VaultRecord) -> Result<Self, Problem> {
        let Some(place) = Place::parse(&entry.location) else {
            return Ok(Self::Directory(entry.location.clone().into()));
        };
        let unusable = |reason: String| {
            let path = format!("the entry of vault {} in the catalog", entry.name);
            Problem::from(Kind::StateUnusable { path, reason })
        };
        let place = place.map_err(|error| unusable(error.to_string()))?;
        let settings = entry
            .settings
            .as_deref()
            .map(serde_json::from_str)
            .transpose();
        let settings = settings.map_err(|error| unusable(error.to_string()))?;
        Ok(Self::Store(place, settings.unwrap_or_default()))
    }

    /// The settings as the catalog keeps them.
    #[must_use]
    pub fn settings(&self) -> Option<String> {
        match self {
            Self::Directory(_) => None,
            Self::Store(_, settings) => serde_json::to_string(settings).ok(),
        }
    }

    /// What a vault there would be called.
    #[must_use]
    pub fn short_name(&self) -> Option<String> {
        match self {
            Self::Directory(path) => Some(path.file_name()?.to_string_lossy().into_owned()),
            Self::Store(place, _) => Some(place.short_name().to_owned()),
        }
    }

    /// Opens the storage of a vault that is there.
    ///
    /// # Errors
    /// `VaultNotFound` for a directory that is none; what the storage says.
    pub async fn open(
        &self,
        upload_limit: Option<NonZeroU64>,
    ) -> Result<Arc<dyn Backend>, Problem> {
        match self {
            Self::Directory(path) => {
                let backend =
                    LocalBackend::open(path)
                        .await
                        .map_err(|error| match error.kind() {
                            tresor_backend::ErrorKind::NotFound => Kind::VaultNotFound {
                                location: self.to_string(),
                            }
                            .into(),
                            _ => storage_problem(&error, &self.to_string()),
                        })?;
                Ok(limited(backend, upload_limit))
            }
            Self::Store(_, settings) => Ok(stack(self.object_store()?, settings, upload_limit)),
        }
    }

    /// Opens the storage for a vault that is to be made: the directory is made, a bucket is not.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn create(&self) -> Result<Arc<dyn Backend>, Problem> {
        match self {
            Self::Directory(path) => {
                let backend = LocalBackend::create(path).await;
                let backend =
                    backend.map_err(|error| storage_problem(&error, &self.to_string()))?;
                Ok(Arc::new(backend))
            }
            Self::Store(..) => self.open(None).await,
        }
    }

    /// The bare client of an object store.
    ///
    /// # Errors
    /// `UsageError` for a directory, and when settings or credentials make no client.
    pub fn object_store(&self) -> Result<ObjectBackend, Problem> {
        let Self::Store(place, settings) = self else {
            return Err(usage(&format!("{self} is no object store.")));
        };
        let secrets = match &settings.credentials_file {
            None => Secrets::from_environment(place.provider),
            Some(path) => {
                let bytes = keys::read_secret(path)?;
                let text = std::str::from_utf8(&bytes).unwrap_or_default();
                let secrets = Secrets::parse(place.provider, text);
                secrets.map_err(|error| usage(&format!("{}, {error}.", path.display())))?
            }
        };
        ObjectBackend::open(place.clone(), settings, &secrets).map_err(|error| {
            let below = std::error::Error::source(&error)
                .map_or(String::new(), |below| format!(": {below}"));
            usage(&format!("{self} cannot be used: {error}{below}."))
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Store(place, _) => place.fmt(f),
        }
    }
}

/// Limits are below the repeating: what is sent again is paid for again.
pub fn stack(
    store: impl Backend + 'static,
    settings: &Settings,
    upload_limit: Option<NonZeroU64>,
) -> Arc<dyn Backend> {
    let limited = limited(store, upload_limit);
    match settings.request_limit {
        Some(limit) => Arc::new(Retrying::new(Paced::new(limited, limit), BACKOFF)),
        None => Arc::new(Retrying::new(limited, BACKOFF)),
    }
}

fn limited(store: impl Backend + 'static, upload_limit: Option<NonZeroU64>) -> Arc<dyn Backend> {
    match upload_limit {
        Some(limit) => Arc::new(Throttled::uploads(store, limit)),
        None => Arc::new(store),
    }
}
