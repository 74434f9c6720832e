//! The keys of an open vault: the newest ring that was read, and how a newer one takes its place.
//!
//! # Invariants
//! - A ring only grows: what a newer generation holds includes what the older one held, so that
//!   whoever reads meanwhile loses nothing.
//! - The key that a session writes with is not looked up here again: it is the one the vault was
//!   opened with, whatever is rotated meanwhile.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use tresor_vault_format::{
    DataKey, DomainId, Error as FormatError, IdKey, KeyRing, PackId, PackKind, SealKey,
};

use crate::error::Result;
use crate::keys;
use crate::vault::Inner;

/// The domain of every holder of the vault's own ring.
pub(crate) const SHARED: DomainId = DomainId([0; 16]);

/// A ring with the number of its generation.
#[derive(Debug, Clone)]
pub(crate) struct OpenRing {
    pub(crate) ring: KeyRing,
    pub(crate) generation: u32,
}

/// The newest ring that was read.
pub(crate) struct RingCell(RwLock<Arc<OpenRing>>);

impl RingCell {
    pub(crate) fn new(ring: OpenRing) -> Self {
        Self(RwLock::new(Arc::new(ring)))
    }

    /// What is replaced is replaced whole: a lock whose holder died guards a whole ring.
    pub(crate) fn get(&self) -> Arc<OpenRing> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, ring: OpenRing) {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if ring.generation > place.generation {
            *place = Arc::new(ring);
        }
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
    /// Says whether there was a newer one.
    pub(crate) async fn refresh_ring(&self) -> Result<bool> {
        let had = self.ring.get().generation;
        let newest = keys::open_ring(&self.store, self.id, self.header, &self.master).await?;
        let is_newer = newest.generation > had;
        self.ring.set(newest);
        Ok(is_newer)
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
