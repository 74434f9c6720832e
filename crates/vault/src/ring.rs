//! The keys of an open vault: what the generations of its ring hold, and how newer ones join them.
//!
//! # Invariants
//! - A ring only grows: a newer look at the storage adds keys and takes none away, so that whoever
//!   reads meanwhile loses nothing, and a storage that hides a generation later hides nothing.
//! - An object that does not open counts for nothing, whatever its name.
//! - The key that a session writes with is not looked up here again: it is the one the vault was
//!   opened with, whatever is rotated meanwhile.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use futures::{StreamExt as _, stream};
use tresor_model::VaultId;
use tresor_vault_format::limits::SMALL_OBJECT;
use tresor_vault_format::{
    DataKey, DomainId, Error as FormatError, IdKey, KeyRing, PackId, PackKind, SealKey, name,
};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::keys::Master;
use crate::store::Store;
use crate::vault::Inner;

/// The domain of every holder of the vault's own ring.
pub(crate) const SHARED: DomainId = DomainId([0; 16]);

/// What a ring's objects hold.
#[derive(Debug, Clone)]
pub(crate) struct OpenRing {
    /// The keys of all generations that open.
    pub(crate) ring: KeyRing,
    /// The highest of them.
    pub(crate) generation: u32,
}

/// The objects of one ring, as the storage lists them.
#[derive(Debug, Default)]
pub(crate) struct Rings {
    /// `None`: no generation opens.
    pub(crate) open: Option<OpenRing>,
    /// Their names, also of those that do not open.
    pub(crate) names: BTreeSet<String>,
    /// Why the others do not open, in order of their names.
    pub(crate) strange: Vec<Error>,
}

impl Rings {
    /// Reads all generations. One that does not open is left out: whoever can put an object could
    /// else shut everybody out. Of one number in two generations the lower one's key counts, so that
    /// nothing that is put later changes what a number means.
    ///
    /// # Errors
    /// When the storage fails.
    pub(crate) async fn read(
        store: &Store,
        vault: VaultId,
        header: [u8; 32],
        master: &Master,
    ) -> Result<Self> {
        let listed = store.list(&name::key_ring_prefix(master.ring)).await?;
        let names = listed.iter().map(|meta| meta.name.as_str().to_owned());
        let names: BTreeSet<String> = names.collect();
        let mut read = stream::iter(names.clone())
            .map(async |object| read_one(store, &object, vault, header, master).await)
            .buffered(store.parallelism());
        let mut rings = Self::default();
        while let Some(found) = read.next().await {
            match found {
                Ok(newer) => match &mut rings.open {
                    Some(open) => {
                        open.absorb(&newer);
                    }
                    None => rings.open = Some(newer),
                },
                Err(error) if error.object_and_reason().is_some() => rings.strange.push(error),
                Err(error) => return Err(error),
            }
        }
        drop(read);
        rings.names = names;
        Ok(rings)
    }

    /// The ring, or why there is none.
    pub(crate) fn opened(mut self, ring: Uuid) -> Result<OpenRing> {
        if let Some(open) = self.open {
            for error in &self.strange {
                tracing::warn!(%error, "a key ring does not open; the others are used");
            }
            return Ok(open);
        }
        // What only a ring that opened can know comes first: the header is another one.
        let of_header = |error: &Error| {
            let found = error.object_and_reason();
            found.is_some_and(|(object, _)| object == name::VAULT)
        };
        match self.strange.iter().position(of_header) {
            Some(at) => Err(self.strange.swap_remove(at)),
            None => Err(self.strange.pop().unwrap_or_else(|| {
                Error::damaged(name::key_ring(ring, 1), "the key ring is missing")
            })),
        }
    }

    /// The lowest generation above `above` and above all that open whose name is free.
    pub(crate) fn next_generation(&self, ring: Uuid, above: u32) -> Option<u32> {
        let open = self.open.as_ref().map_or(0, |open| open.generation);
        (open.max(above).checked_add(1)?..=u32::MAX)
            .find(|generation| !self.names.contains(&name::key_ring(ring, *generation)))
    }
}

async fn read_one(
    store: &Store,
    object: &str,
    vault: VaultId,
    header: [u8; 32],
    master: &Master,
) -> Result<OpenRing> {
    let bytes = store.get(object, SMALL_OBJECT).await?;
    let opened = KeyRing::decode(&bytes, &master.secret);
    let (found, ring) = opened.map_err(|error| Error::format(object, error))?;
    if found.vault != vault || name::key_ring(found.ring, found.generation) != object {
        return Err(Error::damaged(
            object,
            "it belongs to another name or vault",
        ));
    }
    if ring.vault_header != header {
        return Err(Error::damaged(
            name::VAULT,
            "it is not the header the key ring was made for",
        ));
    }
    let generation = found.generation;
    Ok(OpenRing { ring, generation })
}

/// Opens the ring of a master key.
pub(crate) async fn open_ring(
    store: &Store,
    vault: VaultId,
    header: [u8; 32],
    master: &Master,
) -> Result<OpenRing> {
    let rings = Rings::read(store, vault, header, master).await?;
    rings.opened(master.ring)
}

impl OpenRing {
    /// Takes over what is not there yet; says whether that was a data key.
    fn absorb(&mut self, other: &Self) -> bool {
        self.generation = self.generation.max(other.generation);
        let (domains, keys) = (&mut self.ring.domains, &mut self.ring.keys);
        let before = keys.len();
        for new in &other.ring.domains {
            if domains.iter().all(|old| old.domain != new.domain) {
                domains.push(new.clone());
            }
        }
        for new in &other.ring.keys {
            if keys.iter().all(|old| old.epoch != new.epoch) {
                keys.push(new.clone());
            }
        }
        keys.len() > before
    }
}

/// All that was read of the ring.
pub(crate) struct RingCell(RwLock<Arc<OpenRing>>);

impl RingCell {
    pub(crate) fn new(ring: OpenRing) -> Self {
        Self(RwLock::new(Arc::new(ring)))
    }

    /// What is replaced is replaced whole: a lock whose holder died guards a whole ring.
    pub(crate) fn get(&self) -> Arc<OpenRing> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds what a newer look at the storage gave; says whether there was a key among it.
    pub(crate) fn absorb(&self, newer: &OpenRing) -> bool {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut ring = OpenRing::clone(&place);
        let news = ring.absorb(newer);
        *place = Arc::new(ring);
        news
    }

    pub(crate) fn pack_key(
        &self,
        pack: &PackId,
        kind: PackKind,
    ) -> std::result::Result<SealKey, FormatError> {
        self.get().ring.pack_key(pack, kind)
    }

    pub(crate) fn id_key(&self, epoch: u32) -> std::result::Result<IdKey, FormatError> {
        self.get().ring.id_key(epoch)
    }

    /// Whether this is the ring that has the keys of all domains: there, an unknown key is a
    /// newer ring that the storage does not show.
    pub(crate) fn is_whole(&self) -> bool {
        is_whole(&self.get().ring)
    }

    /// The domain of a data key; `None`: this holder does not have it.
    pub(crate) fn domain_of(&self, epoch: u32) -> Option<DomainId> {
        domain_of(&self.get().ring, epoch)
    }

    /// Whether an object of that data key belongs to a domain.
    pub(crate) fn is_of(&self, epoch: u32, domain: DomainId) -> bool {
        domain_of(&self.get().ring, epoch) == Some(domain)
    }

    pub(crate) fn knows(&self, epoch: u32) -> bool {
        domain_of(&self.get().ring, epoch).is_some()
    }
}

pub(crate) fn is_whole(ring: &KeyRing) -> bool {
    ring.domains.iter().any(|keys| keys.domain == SHARED)
}

/// The domain in which a holder of the ring writes: the shared one, or the only one it has.
pub(crate) fn writes_in(ring: &KeyRing) -> DomainId {
    let first = ring.domains.first();
    match first {
        Some(own) if !is_whole(ring) => own.domain,
        _ => SHARED,
    }
}

/// The domain to which a data key belongs, if the ring has it.
pub(crate) fn domain_of(ring: &KeyRing, epoch: u32) -> Option<DomainId> {
    let mut keys = ring.keys.iter();
    let found: Option<&DataKey> = keys.find(|key| key.epoch == epoch);
    found.map(|key| key.domain)
}

impl Inner {
    /// Opens the ring again, after something was met that is sealed by a key it does not have.
    /// Says whether there was a new one.
    pub(crate) async fn refresh_ring(&self) -> Result<bool> {
        let newest = open_ring(&self.store, self.id, self.header, &self.master).await?;
        Ok(self.ring.absorb(&newest))
    }

    /// As above, when one of these keys is not known. Gives one that stays unknown to a holder of
    /// all domains: the storage hides the newest ring, or somebody put an object that nobody can
    /// read. To other holders, what stays unknown is of another domain.
    pub(crate) async fn learn_keys(&self, epochs: &BTreeSet<u32>) -> Result<Option<u32>> {
        let unknown = || {
            epochs
                .iter()
                .find(|epoch| !self.ring.knows(**epoch))
                .copied()
        };
        if unknown().is_none() {
            return Ok(None);
        }
        self.refresh_ring().await?;
        Ok(unknown().filter(|_| self.ring.is_whole()))
    }
}
