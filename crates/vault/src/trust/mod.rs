//! What this machine believes without a look: what it wrote itself.
//!
//! Whoever has the domain's key can put a pack or an index run that says anything of any chunk. So
//! what they say is a claim ([`crate::known`]), but for packs that this machine wrote: it notes for each
//! which chunks lie where in it, as a digest. A run, whoever put it, and a footer are believed of a pack
//! exactly when they say the same. So it does not matter who writes runs anew, and nobody can add a
//! chunk to a pack of ours by a run of his.
//!
//! Trees are taken over as they are, so their roots are noted too: see [`Vault::wrote`].
//!
//! # Cost
//! 64 bytes for each pack of this machine, on disk and in memory; nothing is read from the vault.

mod authors;
mod list;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tresor_model::{NodeRef, VaultId};
use tresor_vault_format::{IndexEntry, PackId, parse_node_ref};

use self::list::{List, Record};

/// What lies where in a pack, or which node lies where.
type Digest = [u8; 32];

/// Roots that are kept when the list is written anew: those of the last years.
const MOST_ROOTS: usize = 1 << 16;
/// Records that lie in the list for nothing before it is written anew.
const MOST_STALE: usize = 1 << 10;

/// What is noted. Clones of a vault share it.
#[derive(Default)]
pub(crate) struct Trust(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    packs: HashMap<PackId, Digest>,
    roots: HashSet<Digest>,
    /// Where it is kept from one session to the next.
    list: Option<List>,
}

/// What is to be thought of what somebody says of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// It is what this machine wrote.
    Ours,
    /// This machine wrote the pack, and put other things into it.
    Contradicts,
    /// Nobody here knows.
    Claim,
}

impl Trust {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        // Every change of it is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns what was noted in a directory, and notes there from now on. What cannot be read costs
    /// reading, never a backup.
    pub(crate) fn remember_in(&self, dir: &Path, vault: VaultId) {
        let list = List::in_dir(dir, vault);
        let records = list.read().unwrap_or_else(|error| {
            tracing::warn!(%error, dir = %dir.display(), "what this machine wrote is verified before it is used");
            Vec::new()
        });
        let mut noted = self.noted();
        for record in records {
            match record {
                Record::Pack(pack, digest) => {
                    noted.packs.insert(pack, digest);
                }
                Record::Root(digest) => {
                    noted.roots.insert(digest);
                }
            }
        }
        noted.list = Some(list);
    }

    /// Notes a data pack that this machine has put. `entries` are all that it holds, in its order.
    pub(crate) fn note_pack(&self, pack: PackId, entries: &[IndexEntry]) {
        let digest = digest(entries.iter());
        let mut noted = self.noted();
        noted.packs.insert(pack, digest);
        noted.append(&Record::Pack(pack, digest));
    }

    /// Notes the root of a tree that this machine has written.
    pub(crate) fn note_root(&self, root: &NodeRef) {
        let Some(digest) = digest_of_root(root) else {
            return;
        };
        let mut noted = self.noted();
        if noted.roots.insert(digest) {
            noted.append(&Record::Root(digest));
        }
    }

    pub(crate) fn has_root(&self, root: &NodeRef) -> bool {
        digest_of_root(root).is_some_and(|digest| self.noted().roots.contains(&digest))
    }

    pub(crate) fn has_pack(&self, pack: &PackId) -> bool {
        self.noted().packs.contains_key(pack)
    }

    /// What to think of a run or a footer that says that a pack holds these, in rising order of
    /// their places.
    pub(crate) fn judge<'a>(
        &self,
        pack: &PackId,
        entries: impl Iterator<Item = &'a IndexEntry>,
    ) -> Word {
        let Some(ours) = self.noted().packs.get(pack).copied() else {
            return Word::Claim;
        };
        if digest(entries) == ours {
            Word::Ours
        } else {
            Word::Contradicts
        }
    }

    /// Writes the list anew when much of it is of packs that are gone. For whoever holds the lock of
    /// its directory.
    pub(crate) fn tidy(&self, is_there: impl Fn(&PackId) -> bool) -> io::Result<()> {
        let mut noted = self.noted();
        let stale = noted.packs.keys().filter(|pack| !is_there(pack)).count();
        if stale < MOST_STALE || stale < noted.packs.len() / 2 {
            return Ok(());
        }
        noted.packs.retain(|pack, _| is_there(pack));
        match &noted.list {
            Some(list) => list.rewrite(MOST_ROOTS, is_there),
            None => Ok(()),
        }
    }
}

impl Noted {
    fn append(&self, record: &Record) {
        let Some(list) = &self.list else { return };
        if let Err(error) = list.append(record) {
            tracing::warn!(%error, "the next session reads what this one has written");
        }
    }
}

fn digest<'a>(entries: impl Iterator<Item = &'a IndexEntry>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for IndexEntry { id, location } in entries {
        hasher.update(id);
        for number in [
            location.frame.offset,
            location.frame.length,
            location.at,
            location.size,
        ] {
            hasher.update(&number.to_le_bytes());
        }
    }
    *hasher.finalize().as_bytes()
}

fn digest_of_root(root: &NodeRef) -> Option<Digest> {
    let (id, location) = parse_node_ref(root).ok()?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&location.frame.pack.0);
    let entry = IndexEntry { id: id.0, location };
    hasher.update(&digest(std::iter::once(&entry)));
    Some(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests;
