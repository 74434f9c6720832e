//! The state directory: the catalog, the keys, the fleecing images.

use std::path::{Path, PathBuf};

use tresor_catalog::Catalog;
use tresor_model::VaultId;
use tresor_problem::{Kind, Problem};

/// Where Tresor keeps what it knows.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The directory that was asked for, or the default of this user.
    ///
    /// # Errors
    /// A usage error when this user has no home.
    pub fn choose(asked: Option<&Path>) -> Result<Self, Problem> {
        if let Some(path) = asked {
            return Ok(Self(path.to_owned()));
        }
        if rustix::process::geteuid().is_root() {
            return Ok(Self("/var/lib/tresor".into()));
        }
        let state = std::env::var_os("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| {
                std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"))
            });
        match state {
            Some(state) => Ok(Self(state.join("tresor"))),
            None => Err(Kind::UsageError {
                what: "There is no HOME: say where to keep state with --state-dir.".to_owned(),
            }
            .into()),
        }
    }

    /// Opens the catalog, or makes it.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn catalog(&self) -> Result<Catalog, Problem> {
        let path = self.0.join("catalog.db");
        Catalog::open(&path)
            .await
            .map_err(|error| Problem::from(&error))
    }

    /// The key file that `vault create` makes for a vault of this name.
    #[must_use]
    pub fn key_file(&self, vault_name: &str) -> PathBuf {
        self.0.join("keys").join(format!("{vault_name}.key"))
    }

    /// Where sockets go, when not to the system's own place: a user has a directory for them.
    #[must_use]
    pub fn runtime_dir(&self) -> Option<PathBuf> {
        if rustix::process::geteuid().is_root() {
            return None;
        }
        let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Some(own.map_or_else(|| self.0.join("run"), |dir| dir.join("tresor")))
    }

    /// Where locks of VMs are: the same place for every state directory of this user.
    #[must_use]
    pub fn lock_dir(&self) -> PathBuf {
        self.runtime_dir().unwrap_or_else(|| "/run/tresor".into())
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where copies of small objects of vaults are kept.
    #[must_use]
    pub fn sessions_cache(&self) -> PathBuf {
        self.0.join("sessions-cache")
    }

    /// What the storage of a vault was seen to hold.
    #[must_use]
    pub fn held_note(&self, vault: VaultId) -> PathBuf {
        self.0.join("held").join(format!("{vault}.json"))
    }

    /// What was asked for when plans of retention were made.
    #[must_use]
    pub fn plans(&self) -> PathBuf {
        self.0.join("plans")
    }

    /// Where fleecing images go unless asked otherwise.
    #[must_use]
    pub fn fleecing_dir(&self) -> PathBuf {
        self.0.join("fleecing")
    }

    /// Where jobs restore to unless other directories are allowed.
    #[must_use]
    pub fn restored(&self) -> PathBuf {
        absolute(&self.0.join("restored"))
    }

    /// Tables of what the vaults hold; read again from them when they are lost.
    #[must_use]
    pub fn index_cache(&self) -> PathBuf {
        self.0.join("index-cache")
    }
}

/// A path that still means the same when it is read in another directory.
#[must_use]
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
