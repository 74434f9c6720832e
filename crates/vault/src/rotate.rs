//! New data keys, and domains of hosts. No data is written again for either.
//!
//! # Order
//! The vault's own ring comes first: a key that a host can write with is one that the owner has.
//! Then the host's ring, then its slot.
//!
//! # After a crash
//! A key that only the owner's ring has is used by nobody; a ring without a slot opens for nobody.
//! The same command again makes new ones.

use bytes::Bytes;
use tresor_vault_format::{DataKey, DomainId, DomainKeys, KeyRing, Secret, name};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, KeyMaterial, Master};
use crate::random::random;
use crate::ring::{self, OpenRing, SHARED};
use crate::slots::OWNER;
use crate::store::PutOutcome;
use crate::vault::{Inner, Vault};

/// How often a rotation that others overtake is tried again.
const TRIES: u32 = 16;

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
    /// [`ErrorKind::OwnerOnly`] for who has one domain only; [`ErrorKind::KeyMissing`] when the
    /// storage hides a newer ring; [`ErrorKind::KeyRejected`] when there is no such ring; when the
    /// storage fails.
    pub async fn rotate_data_key(&self, host: Option<Uuid>) -> Result<u32> {
        let inner = &self.inner;
        inner.owner()?;
        let Some(host) = host else {
            return inner
                .grow(|ring, number| add_key(ring, SHARED, number))
                .await;
        };
        let master = inner.host_master(host).await?;
        let theirs = keys::open_ring(&inner.store, inner.id, inner.header, &master).await?;
        let domain = ring::writes_in(&theirs.ring);
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
        let (domain, root) = (DomainId(random()?), Secret(random()?));
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

fn add_key(ring: &mut KeyRing, domain: DomainId, number: u32) -> Result<()> {
    ring.keys.push(DataKey {
        epoch: number,
        domain,
        key: Secret(random()?),
    });
    Ok(())
}

impl Inner {
    fn owner(&self) -> Result<()> {
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
        let used = packs
            .iter()
            .filter_map(|meta| Some(name::parse_pack(meta.name.as_str())?.epoch()));
        // A number of a hidden ring must not be given out again.
        if let Some(epoch) = self.learn_keys(&used.collect()).await? {
            let object = name::key_ring_prefix(self.master.ring);
            return Err(Error::new(ErrorKind::KeyMissing { object, epoch }));
        }
        for _ in 0..TRIES {
            self.refresh_ring().await?;
            let now = self.ring.get();
            let mut ring = now.ring.clone();
            let number = ring.keys.iter().map(|key| key.epoch).max().unwrap_or(0) + 1;
            change(&mut ring, number)?;
            if self
                .put_ring(&self.master, &ring, now.generation + 1)
                .await?
            {
                let generation = now.generation + 1;
                self.ring.set(OpenRing { ring, generation });
                return Ok(number);
            }
        }
        Err(Error::misuse("a key ring is changed by few at once"))
    }

    /// Gives a host's ring all keys of its domain that the owner's has.
    async fn publish(&self, master: &Master, domain: DomainId) -> Result<()> {
        for _ in 0..TRIES {
            let prefix = name::key_ring_prefix(master.ring);
            let listed = self.store.list(&prefix).await?;
            let generation = if listed.is_empty() {
                0
            } else {
                let newest = keys::open_ring(&self.store, self.id, self.header, master);
                newest.await?.generation
            };
            self.refresh_ring().await?;
            let mut ring = self.ring.get().ring.clone();
            ring.domains.retain(|keys| keys.domain == domain);
            ring.keys.retain(|key| key.domain == domain);
            if self.put_ring(master, &ring, generation + 1).await? {
                return Ok(());
            }
        }
        Err(Error::misuse("a key ring is changed by few at once"))
    }

    /// Whether this generation is ours. Our own first try may have arrived without its answer:
    /// then its bytes are there.
    async fn put_ring(&self, master: &Master, ring: &KeyRing, generation: u32) -> Result<bool> {
        let (object, bytes) = keys::encode_ring(ring, self.id, generation, master)?;
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

    async fn host_master(&self, host: Uuid) -> Result<Master> {
        let key = self.owner_key(host);
        keys::unlock_of(&self.store, &self.pool, self.id, &key, Some(host)).await
    }
}
