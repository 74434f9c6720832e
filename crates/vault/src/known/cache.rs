//! The directory in which a machine keeps the tables of a vault's chunks between sessions.
//!
//! ```text
//! <dir>/<vault id>/lock      held while tables are added or removed
//! <dir>/<vault id>/state     JSON: which tables there are, and which index runs they hold
//! <dir>/<vault id>/*.table   see `table`
//! <dir>/<vault id>/written   see `crate::trust`
//! <dir>/<vault id>-<domain>/ the same for a host's own domain
//! ```
//!
//! # Invariants
//! - It is a cache: everything in it was read from the vault and can be read from it again. What is
//!   missing, damaged, of another version or of another vault is made anew.
//! - Tables of what is believed and tables of what is claimed are apart: what lies in the first was
//!   written or verified by this machine.
//! - A session uses only tables that the state names, and only what the vault still has.
//! - One session at a time changes it. Another one that comes meanwhile reads it, and keeps what it
//!   learns to itself.
//!
//! # After a crash
//! The state is replaced by a rename, after its tables were written. Tables that no state names are
//! removed by the next session. Nothing is forced to disk: after a power cut the checks in the
//! tables tell what did not arrive.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tresor_model::VaultId;
use tresor_vault_format::{DomainId, LeafChunk};

use super::stored::StoredChunks;
use super::table::{Table, TablePack};
use crate::random::random;
use crate::ring::SHARED;

/// 2: what is believed and what is claimed are apart.
const VERSION: u32 = 2;
const STATE: &str = "state";
const SUFFIX: &str = ".table";
/// Largest state that is read: the names of a million index runs.
const STATE_LIMIT: u64 = 64 << 20;
/// How often the state is read again when a table that it names has just been removed.
const TRIES: u32 = 3;

#[derive(Debug, Serialize, Deserialize)]
struct State {
    version: u32,
    vault: VaultId,
    /// Tables of what is believed.
    believed: Vec<String>,
    /// Tables of what is claimed.
    claimed: Vec<String>,
    runs: BTreeSet<String>,
}

impl State {
    fn names(&self, table: &str) -> bool {
        let mut all = self.believed.iter().chain(&self.claimed);
        all.any(|name| name == table)
    }
}

/// Tables with the names of their files.
pub(super) type NamedTables = Vec<(String, Table)>;

/// What a cache holds.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) believed: NamedTables,
    pub(super) claimed: NamedTables,
}

/// Where a machine keeps what it knows of a domain of a vault.
pub(crate) fn cache_of(dir: &Path, vault: VaultId, domain: DomainId) -> PathBuf {
    if domain == SHARED {
        return dir.join(vault.to_string());
    }
    let digits: String = domain.0.iter().map(|byte| format!("{byte:02x}")).collect();
    dir.join(format!("{vault}-{digits}"))
}

/// Makes files for tables.
#[derive(Debug, Clone)]
pub(super) struct TableDir(PathBuf);

impl TableDir {
    /// A new file with its name.
    pub(super) fn create(&self) -> io::Result<(String, File)> {
        let random: [u8; 12] = random().map_err(io::Error::other)?;
        let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = digits + SUFFIX;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.0.join(&name))?;
        Ok((name, file))
    }

    /// Makes the next session read everything anew.
    pub(super) fn forget(&self) {
        if let Err(error) = fs::remove_file(self.0.join(STATE))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, dir = %self.0.display(), "a damaged index cache stays");
        }
    }

    /// A new file that is gone with its last user.
    pub(super) fn create_nameless(&self) -> io::Result<File> {
        let (name, file) = self.create()?;
        fs::remove_file(self.0.join(name))?;
        Ok(file)
    }
}

/// What an earlier session left, and the right to add to it.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
    vault: VaultId,
    /// `None`: another session changes it now.
    lock: Option<File>,
    /// The index runs that the tables hold.
    pub(super) runs: BTreeSet<String>,
}

impl Cache {
    /// Opens the cache of a vault, making it where there is none, with its tables.
    /// A host's own domain has one beside the shared domain's: neither holds the other's chunks.
    pub(super) fn open(dir: &Path, vault: VaultId, domain: DomainId) -> io::Result<(Self, Tables)> {
        let mut cache = Self::lock(dir, vault, domain)?;
        for _ in 0..TRIES {
            match cache.read() {
                Ok((runs, tables)) => {
                    cache.runs = runs;
                    return Ok((cache, tables));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(%error, dir = %cache.dir.display(), "the index cache is made anew");
                    break;
                }
            }
        }
        Ok((cache, Tables::default()))
    }

    /// Takes the right to change it, if that is free.
    fn lock(dir: &Path, vault: VaultId, domain: DomainId) -> io::Result<Self> {
        let dir = cache_of(dir, vault, domain);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)?;
        let lock = File::create(dir.join("lock"))?;
        let locked = lock.try_lock().is_ok();
        Ok(Self {
            dir,
            vault,
            lock: locked.then_some(lock),
            runs: BTreeSet::new(),
        })
    }

    /// Keeps a table of chunks that were verified, for later sessions. False when another session
    /// changes the cache now.
    pub(super) fn keep_verified(
        (dir, vault, domain): (&Path, VaultId, DomainId),
        chunks: Vec<LeafChunk>,
        packs: Vec<TablePack>,
    ) -> io::Result<bool> {
        let cache = Self::lock(dir, vault, domain)?;
        if !cache.may_change() {
            return Ok(false);
        }
        let mut state = match cache.read_state() {
            Ok(state) => state,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State {
                version: VERSION,
                vault,
                believed: Vec::new(),
                claimed: Vec::new(),
                runs: BTreeSet::new(),
            },
            Err(error) => return Err(error),
        };
        let mut stored = StoredChunks::with(vault, Some(cache.tables()), Vec::new());
        stored.add(chunks, packs, true)?;
        state.believed.extend(stored.names().unwrap_or_default());
        cache.write(&state)?;
        Ok(true)
    }

    fn read_state(&self) -> io::Result<State> {
        let path = self.dir.join(STATE);
        if fs::metadata(&path)?.len() > STATE_LIMIT {
            return Err(io::Error::other("its state is too large"));
        }
        let state: State = serde_json::from_slice(&fs::read(path)?)?;
        if state.version != VERSION || state.vault != self.vault {
            return Err(io::Error::other("it is of another version or vault"));
        }
        Ok(state)
    }

    fn read(&self) -> io::Result<(BTreeSet<String>, Tables)> {
        let state = self.read_state()?;
        let tables = Tables {
            believed: self.open_tables(state.believed)?,
            claimed: self.open_tables(state.claimed)?,
        };
        Ok((state.runs, tables))
    }

    fn open_tables(&self, names: Vec<String>) -> io::Result<NamedTables> {
        let mut tables = Vec::with_capacity(names.len());
        for name in names {
            let plain = name.strip_suffix(SUFFIX);
            if !plain.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_hexdigit())) {
                return Err(io::Error::other("its state names a file that is no table"));
            }
            let table = Table::open(File::open(self.dir.join(&name))?, self.vault)?;
            tables.push((name, table));
        }
        Ok(tables)
    }

    /// Whether what this session learns may be kept.
    pub(super) fn may_change(&self) -> bool {
        self.lock.is_some()
    }

    pub(super) fn tables(&self) -> TableDir {
        TableDir(self.dir.clone())
    }

    /// Keeps these tables, which hold these index runs, and removes all others.
    pub(super) fn save(
        &self,
        (believed, claimed): (Vec<String>, Vec<String>),
        runs: BTreeSet<String>,
    ) -> io::Result<()> {
        if !self.may_change() {
            return Ok(());
        }
        self.write(&State {
            version: VERSION,
            vault: self.vault,
            believed,
            claimed,
            runs,
        })
    }

    fn write(&self, state: &State) -> io::Result<()> {
        let new = self.dir.join("state.new");
        fs::write(&new, serde_json::to_vec(state)?)?;
        fs::rename(&new, self.dir.join(STATE))?;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(SUFFIX) && !state.names(&name) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}
