//! New data keys, and domains of hosts. No data is written again for either.
//!
//! # Order
//! The vault's own ring comes first: a key that a host can write with is one that the owner has.
//! Then the host's ring, then its slot.
//!
//! # After a crash
//! A key that only the owner's ring has is used by nobody; a ring without a slot opens for nobody.
//! The same command again makes new ones.

use std::collections::BTreeSet;

use bytes::Bytes;
use tresor_vault_format::{DataKey, DomainId, DomainKeys, KeyRing, Secret, name, owner_domain};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, KeyMaterial, Master};
use crate::random::random;
use crate::ring::{OpenRing, Rings, SHARED};
use crate::slots::OWNER;
use crate::store::PutOutcome;
use crate::vault::{Inner, Vault};

/// How often a rotation that others overtake is tried again.
const TRIES: u32 = 16;
const OVERTAKEN: &str = "a key ring is changed by few at once";
const NO_NUMBER: &str = "a key ring has fewer than 2^32 generations and keys";

/// A domain of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostDomain {
    /// Its ring; names it towards [`Vault::rotate_data_key`].
    pub ring: Uuid,
    /// The slot that its key opens.
    pub slot: Uuid,
}

impl Vault {
    /// Whether this holder has the keys of all domains.
    #[must_use]
    pub fn has_all_domains(&self) -> bool {
        self.inner.ring.is_whole()
    }

    /// Makes a data key for what is written from now on: of the shared domain, or of the domain of
    /// the host with that ring. Gives its number. Who has the vault open writes with the key it
    /// opened it with; known chunks stay known.
    ///
    /// # Errors
    /// [`ErrorKind::OwnerOnly`] for who has one domain only; [`ErrorKind::KeyRejected`] when there
    /// is no such ring; when the storage fails.
    pub async fn rotate_data_key(&self, host: Option<Uuid>) -> Result<u32> {
        let inner = &self.inner;
        inner.owner()?;
        let Some(host) = host else {
            return inner
                .grow(|ring, number| add_key(ring, SHARED, number))
                .await;
        };
        let master = inner.host_master(host).await?;
        // Not what the host's ring says: who has it could write that it has the shared domain.
        let domain = owner_domain(&inner.master.secret, host);
        inner.refresh_ring().await?;
        let mut known = inner.ring.get().ring.domains.clone().into_iter();
        if !known.any(|keys| keys.domain == domain) {
            return Err(Error::new(ErrorKind::KeyRejected));
        }
        let number = inner
            .grow(|ring, number| add_key(ring, domain, number))
            .await?;
        inner.publish(&master, domain).await?;
        Ok(number)
    }

    /// Makes a domain for a host: whoever has `key` writes and reads in it, and in no other. The
    /// owner reads it too.
    ///
    /// # Errors
    /// As [`Self::rotate_data_key`]; [`ErrorKind::KeyUnusable`].
    pub async fn add_host_domain(&self, key: &KeyMaterial, label: &str) -> Result<HostDomain> {
        let inner = &self.inner;
        inner.owner()?;
        let master = Master::generate()?;
        let slot = keys::wrap(&inner.pool, inner.id, &master, key, label).await?;
        let mine = inner.owner_key(master.ring);
        let owners = keys::wrap(&inner.pool, inner.id, &master, &mine, OWNER).await?;
        let domain = owner_domain(&inner.master.secret, master.ring);
        let root = Secret(random()?);
        inner
            .grow(|ring, number| {
                ring.domains.retain(|keys| keys.domain != domain);
                ring.domains.push(DomainKeys {
                    domain,
                    root: root.clone(),
                });
                add_key(ring, domain, number)
            })
            .await?;
        inner.publish(&master, domain).await?;
        let host = HostDomain {
            ring: master.ring,
            slot: slot.id,
        };
        for wrapped in [owners, slot] {
            let object = name::key_slot(wrapped.id);
            inner
                .store
                .put_new(&object, Bytes::from(wrapped.object))
                .await?;
        }
        Ok(host)
    }
}

/// The number of the next data key. Each object of the ring that does not open may have given one
/// away, and so may one that is hidden: its number is on packs. A number that is no key's at all, on
/// a pack that somebody put, only is not given.
fn next_number(highest: u32, strange: usize, used: &BTreeSet<u32>) -> Option<u32> {
    let strange = u32::try_from(strange).ok()?;
    let first = highest.checked_add(strange)?.checked_add(1)?;
    (first..=u32::MAX).find(|number| !used.contains(number))
}

fn add_key(ring: &mut KeyRing, domain: DomainId, number: u32) -> Result<()> {
    ring.keys.push(DataKey {
        epoch: number,
        domain,
        key: Secret(random()?),
    });
    Ok(())
}

impl Inner {
    /// Refuses who has not the keys of all domains.
    pub(crate) fn owner(&self) -> Result<()> {
        if self.ring.is_whole() {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::OwnerOnly))
        }
    }

    /// Writes the next generation of the own ring, with what `change` adds to it under the next
    /// free number. Of two that write the same generation one wins; the other begins anew with
    /// what the winner wrote.
    async fn grow(&self, change: impl Fn(&mut KeyRing, u32) -> Result<()>) -> Result<u32> {
        let packs = self.store.list(name::PACKS).await?;
        let packs = packs
            .iter()
            .filter_map(|meta| name::parse_pack(meta.name.as_str()));
        let used: BTreeSet<u32> = packs.map(|pack| pack.epoch()).collect();
        let mut tried = 0;
        for _ in 0..TRIES {
            let rings = self.rings(&self.master).await?;
            if let Some(open) = &rings.open {
                self.ring.absorb(open);
            }
            let now = self.ring.get();
            let mut ring = now.ring.clone();
            let highest = ring.keys.iter().map(|key| key.epoch).max().unwrap_or(0);
            let free = next_number(highest, rings.strange.len(), &used);
            let number = free.ok_or_else(|| Error::misuse(NO_NUMBER))?;
            change(&mut ring, number)?;
            let above = now.generation.max(tried);
            let next = rings.next_generation(self.master.ring, above);
            let generation = next.ok_or_else(|| Error::misuse(NO_NUMBER))?;
            if self.put_ring(&self.master, &ring, generation).await? {
                self.ring.absorb(&OpenRing { ring, generation });
                return Ok(number);
            }
            tried = generation;
        }
        Err(Error::misuse(OVERTAKEN))
    }

    /// Gives a host's ring all keys of its domain that the owner's has.
    async fn publish(&self, master: &Master, domain: DomainId) -> Result<()> {
        let mut tried = 0;
        for _ in 0..TRIES {
            let rings = self.rings(master).await?;
            self.refresh_ring().await?;
            let mut ring = self.ring.get().ring.clone();
            ring.domains.retain(|keys| keys.domain == domain);
            ring.keys.retain(|key| key.domain == domain);
            let next = rings.next_generation(master.ring, tried);
            let generation = next.ok_or_else(|| Error::misuse(NO_NUMBER))?;
            if self.put_ring(master, &ring, generation).await? {
                return Ok(());
            }
            tried = generation;
        }
        Err(Error::misuse(OVERTAKEN))
    }

    pub(crate) async fn rings(&self, master: &Master) -> Result<Rings> {
        Rings::read(&self.store, self.id, self.header, master).await
    }

    /// Whether this generation is ours. Our own first try may have arrived without its answer:
    /// then its bytes are there.
    async fn put_ring(&self, master: &Master, ring: &KeyRing, generation: u32) -> Result<bool> {
        let (object, bytes) = keys::encode_ring(ring, self.id, generation, master)?;
        // What a reader would refuse must never become the newest ring.
        KeyRing::decode(&bytes, &master.secret)
            .map_err(|error| Error::misuse("a key ring holds at most 512 keys").because(error))?;
        let bytes = Bytes::from(bytes);
        if self.store.put(&object, bytes.clone()).await? == PutOutcome::Stored {
            return Ok(true);
        }
        Ok(self
            .store
            .get(&object, bytes.len())
            .await
            .is_ok_and(|found| found == bytes))
    }

    /// What opens the owner's slot of a host's ring.
    fn owner_key(&self, host: Uuid) -> KeyMaterial {
        let secret = tresor_vault_format::owner_secret(&self.master.secret, host);
        KeyMaterial::KeyFile(Zeroizing::new(secret.0.to_vec()))
    }

    pub(crate) async fn host_master(&self, host: Uuid) -> Result<Master> {
        let key = self.owner_key(host);
        keys::unlock_of(&self.store, &self.pool, self.id, &key, Some(host)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_once_whatever_is_hidden_or_made_up() {
        let cases: [(u32, usize, &[u32], Option<u32>); 7] = [
            (1, 0, &[1], Some(2)),
            // A ring that is hidden gave 2 and 3 away.
            (1, 0, &[1, 2, 3], Some(4)),
            // A ring that does not open may have given one.
            (1, 1, &[1], Some(3)),
            (1, 1, &[1, 3], Some(4)),
            // Names that somebody made up stop nothing.
            (1, 0, &[u32::MAX], Some(2)),
            (1, 0, &[2, 7, u32::MAX], Some(3)),
            (u32::MAX, 0, &[], None),
        ];
        for (highest, strange, used, expected) in cases {
            let used = used.iter().copied().collect();
            assert_eq!(next_number(highest, strange, &used), expected, "{used:?}");
        }
    }
}
