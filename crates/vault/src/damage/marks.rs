//! Marks of damaged packs: `damaged/<pack>`, docs/format/damaged.md.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use jiff::Timestamp;
use tresor_vault_format::{DamageMark, PackId, name};

use crate::error::Result;
use crate::vault::{Inner, Vault};

/// The packs that are marked. A mark's name says all.
pub(crate) async fn marked_packs(vault: &Inner) -> Result<HashSet<PackId>> {
    let listed = vault.store.list(name::DAMAGED).await?;
    let marked = listed.iter();
    Ok(marked
        .filter_map(|meta| name::parse_damaged(meta.name.as_str()))
        .collect())
}

/// Marks a pack as damaged.
pub(crate) async fn mark_pack(vault: &Inner, pack: PackId) -> Result<()> {
    let mark = DamageMark {
        vault: vault.id,
        pack,
        found_ms: Timestamp::now().as_millisecond(),
    };
    let object = Bytes::from(mark.encode());
    // Who was faster marked the same.
    vault.store.put(&name::damaged(&pack), object).await?;
    Ok(())
}

impl Vault {
    /// Marks those of the objects that are packs as damaged, for all who write to the vault. Marking
    /// twice is marking once. Gives how many are marked.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn mark_damaged<'a>(
        &self,
        objects: impl IntoIterator<Item = &'a str>,
    ) -> Result<u64> {
        let packs: BTreeSet<PackId> = objects.into_iter().filter_map(name::parse_pack).collect();
        for pack in &packs {
            mark_pack(&self.inner, *pack).await?;
        }
        self.inner.elsewhere.forget().await;
        Ok(packs.len() as u64)
    }

    /// The packs that are marked as damaged, by their ids in hex, sorted.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn marked_packs(&self) -> Result<BTreeSet<String>> {
        let marked = marked_packs(&self.inner).await?;
        Ok(marked.iter().map(ToString::to_string).collect())
    }
}
