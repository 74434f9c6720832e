//! The keys that open a vault: listing, adding, removing.
//!
//! # What a removal does, and what it cannot do
//! It deletes an object. Who kept a copy of the slot and has its secret still gets the master key
//! out of it, and with the master key all that was sealed until the master key is another one.
//!
//! # After a crash
//! A slot is one object: it is there or not.

use bytes::Bytes;
use tresor_vault_format::limits::SMALL_OBJECT;
use tresor_vault_format::{KeySlot, RecoveryKey, Secret, SlotKind, name};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, KeyMaterial};
use crate::random::random;
use crate::vault::Vault;

/// Label of the slots by which the owner opens the rings of hosts.
pub(crate) const OWNER: &str = "vault owner";

/// What opens a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKey {
    /// A passphrase.
    Passphrase,
    /// A key file.
    KeyFile,
    /// A recovery key.
    Recovery,
}

/// A slot that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its id.
    pub id: Uuid,
    /// What opens it.
    pub key: SlotKey,
    /// Its name for people; not sealed: whoever stores the vault can read and change it.
    pub label: String,
    /// Whether it opened the vault now.
    pub in_use: bool,
    /// Whether it opens the keys that this holder has; else those of a domain of its own.
    pub same_ring: bool,
}

/// Slots, and those that cannot be read.
#[derive(Debug, Default)]
pub struct SlotList {
    /// In order of their making.
    pub slots: Vec<SlotInfo>,
    /// What is wrong with the others.
    pub damaged: Vec<Error>,
}

/// A new recovery key, for [`Vault::add_key_slot`].
///
/// # Errors
/// When the system gives no random numbers.
pub fn new_recovery_key() -> Result<RecoveryKey> {
    Ok(RecoveryKey::from_secret(Secret(random()?)))
}

impl Vault {
    /// The slots of the vault, but for those that the owner has in the rings of hosts.
    ///
    /// # Errors
    /// When the storage fails. A damaged slot is an entry of the list.
    pub async fn key_slots(&self) -> Result<SlotList> {
        let inner = &self.inner;
        let mut list = SlotList::default();
        for meta in inner.store.list(name::SLOTS).await? {
            let object = meta.name.as_str();
            match keys::read_slot(&inner.store, object, inner.id).await {
                Ok(slot) if slot.ring != inner.master.ring && slot.label == OWNER => {}
                Ok(slot) => list.slots.push(self.info(&slot)),
                Err(error) if error.object_and_reason().is_some() => list.damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(list)
    }

    fn info(&self, slot: &KeySlot) -> SlotInfo {
        let key = match slot.kind {
            SlotKind::Passphrase(_) => SlotKey::Passphrase,
            SlotKind::KeyFile => SlotKey::KeyFile,
            SlotKind::Recovery => SlotKey::Recovery,
        };
        SlotInfo {
            id: slot.slot,
            key,
            label: slot.label.clone(),
            in_use: self.inner.master.slot == Some(slot.slot),
            same_ring: slot.ring == self.inner.master.ring,
        }
    }

    /// Lets another key open the vault; gives the new slot's id.
    ///
    /// # Errors
    /// [`ErrorKind::KeyUnusable`]; when the storage fails.
    pub async fn add_key_slot(&self, key: &KeyMaterial, label: &str) -> Result<Uuid> {
        let inner = &self.inner;
        let wrapped = keys::wrap(&inner.pool, inner.id, &inner.master, key, label).await?;
        inner
            .store
            .put_new(&name::key_slot(wrapped.id), Bytes::from(wrapped.object))
            .await?;
        Ok(wrapped.id)
    }

    /// Removes a slot. What its key opened stays open to who kept a copy of the slot.
    ///
    /// # Errors
    /// [`ErrorKind::SlotNeeded`] for the slot that opened the vault and the last one of its ring;
    /// [`ErrorKind::SlotNotFound`]; when the storage fails.
    pub async fn remove_key_slot(&self, id: Uuid) -> Result<()> {
        let object = name::key_slot(id);
        let found = self.inner.store.find(&object, SMALL_OBJECT).await?;
        if found.is_none() {
            return Err(Error::new(ErrorKind::SlotNotFound { slot: id }));
        }
        decide_removal(&self.key_slots().await?.slots, id)?;
        self.inner.store.delete(&object).await
    }
}

/// Whether a slot may go. A damaged one may: it opens nothing.
fn decide_removal(slots: &[SlotInfo], id: Uuid) -> Result<()> {
    let Some(slot) = slots.iter().find(|slot| slot.id == id) else {
        return Ok(());
    };
    let others = slots
        .iter()
        .filter(|other| other.id != id && other.same_ring == slot.same_ring);
    let is_last = slot.same_ring && others.count() == 0;
    if slot.in_use || is_last {
        return Err(Error::new(ErrorKind::SlotNeeded { slot: id, is_last }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(id: u128, in_use: bool, same_ring: bool) -> SlotInfo {
        SlotInfo {
            id: Uuid::from_u128(id),
            key: SlotKey::KeyFile,
            label: String::new(),
            in_use,
            same_ring,
        }
    }

    #[test]
    fn the_last_slot_and_the_one_in_use_stay() {
        let (used, other) = (slot(1, true, true), slot(2, false, true));
        let host = slot(3, false, false);
        let cases: [(&[SlotInfo], u128, bool); 6] = [
            (&[used.clone(), other.clone()], 1, false),
            (&[used.clone(), other.clone()], 2, true),
            (std::slice::from_ref(&used), 1, false),
            (std::slice::from_ref(&other), 2, false),
            (&[other.clone(), host.clone()], 2, false),
            (&[used.clone(), host], 3, true),
        ];
        for (at, (slots, id, may)) in cases.into_iter().enumerate() {
            let decided = decide_removal(slots, Uuid::from_u128(id));
            assert_eq!(decided.is_ok(), may, "case {at}");
        }
    }
}
