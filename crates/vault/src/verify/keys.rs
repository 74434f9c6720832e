//! Looking at the key rings.
//!
//! A ring that does not open harms nobody who has another generation, so opening goes on without it.
//! It is told here: it is a damaged one, with a key that something may be sealed with, or one that
//! somebody put who had no key for it.

use std::collections::{BTreeMap, BTreeSet};

use tresor_vault_format::name;
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::keys;
use crate::slots::OWNER;
use crate::vault::{Inner, Vault};

impl Vault {
    /// Opens every generation of this holder's ring, and for the owner of the rings of hosts. Gives
    /// what does not open; for the owner also each number of a data key that packs bear and no ring
    /// has: the newest ring is missing or hidden, or somebody put a pack that nobody can open.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn verify_keys(&self) -> Result<Vec<Error>> {
        let inner = &self.inner;
        let mut found = inner.rings(&inner.master).await?.strange;
        if inner.ring.is_whole() {
            for host in host_rings(inner).await? {
                found.extend(strange_of(inner, host).await?);
            }
            found.extend(unknown_numbers(inner).await?);
        }
        Ok(found)
    }
}

/// The rings that have a slot of the owner's, if it says the truth: it is not sealed.
async fn host_rings(inner: &Inner) -> Result<BTreeSet<Uuid>> {
    let mut rings = BTreeSet::new();
    for meta in inner.store.list(name::SLOTS).await? {
        match keys::read_slot(&inner.store, meta.name.as_str(), inner.id).await {
            Ok(slot) if slot.ring != inner.master.ring && slot.label == OWNER => {
                rings.insert(slot.ring);
            }
            // A damaged slot is found without keys.
            Ok(_) => {}
            Err(error) if error.object_and_reason().is_some() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(rings)
}

async fn strange_of(inner: &Inner, host: Uuid) -> Result<Vec<Error>> {
    let master = match inner.host_master(host).await {
        Ok(master) => master,
        // Somebody put a slot that says it is the owner's.
        Err(error) if matches!(error.kind(), ErrorKind::KeyRejected) => return Ok(Vec::new()),
        Err(error) if error.object_and_reason().is_some() => return Ok(vec![error]),
        Err(error) => return Err(error),
    };
    let rings = inner.rings(&master).await?;
    if rings.names.is_empty() {
        return Ok(vec![Error::damaged(
            name::key_ring(host, 1),
            "the key ring is missing",
        )]);
    }
    Ok(rings.strange)
}

async fn unknown_numbers(inner: &Inner) -> Result<Vec<Error>> {
    let listed = inner.store.list(name::PACKS).await?;
    let mut first = BTreeMap::new();
    for object in listed.iter().map(|meta| meta.name.as_str()) {
        if let Some(pack) = name::parse_pack(object) {
            first.entry(pack.epoch()).or_insert(object);
        }
    }
    inner.learn_keys(&first.keys().copied().collect()).await?;
    let unknown = first
        .into_iter()
        .filter(|(epoch, _)| !inner.ring.knows(*epoch));
    let missing = unknown.map(|(epoch, object)| {
        let object = object.to_owned();
        Error::new(ErrorKind::KeyMissing { object, epoch })
    });
    Ok(missing.collect())
}
