//! Marks of damaged packs: `damaged/<pack>`, docs/format/damaged.md.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tresor_backend::Backend;
use tresor_model::VaultId;
use tresor_vault_format::{DamageMark, PackId, name};

use crate::error::Result;
use crate::store::Store;
use crate::vault::{Inner, Vault, read_header};

/// The packs that are marked. A mark's name says all.
pub(crate) async fn marked_packs(vault: &Inner) -> Result<HashSet<PackId>> {
    let listed = vault.store.list(name::DAMAGED).await?;
    let marked = listed.iter();
    Ok(marked
        .filter_map(|meta| name::parse_damaged(meta.name.as_str()))
        .collect())
}

/// Marks those of the objects that are packs as damaged, for all who write to the vault. Needs no
/// key: whoever stores a vault and finds damage can tell. Gives how many are marked.
///
/// # Errors
/// [`crate::ErrorKind::NotAVault`]; when the storage fails.
pub async fn mark_damaged<'a>(
    backend: Arc<dyn Backend>,
    objects: impl IntoIterator<Item = &'a str>,
) -> Result<u64> {
    let store = Store::new(backend);
    let header = read_header(&store).await?;
    put_marks(&store, header.vault, &packs_of(objects)).await
}

/// Marks packs as damaged.
pub(crate) async fn mark(vault: &Inner, packs: &BTreeSet<PackId>) -> Result<u64> {
    let marked = put_marks(&vault.store, vault.id, packs).await?;
    vault.elsewhere.forget().await;
    Ok(marked)
}

fn packs_of<'a>(objects: impl IntoIterator<Item = &'a str>) -> BTreeSet<PackId> {
    objects.into_iter().filter_map(name::parse_pack).collect()
}

/// Marking twice is marking once.
async fn put_marks(store: &Store, vault: VaultId, packs: &BTreeSet<PackId>) -> Result<u64> {
    for pack in packs {
        let mark = DamageMark {
            vault,
            pack: *pack,
            found_ms: Timestamp::now().as_millisecond(),
        };
        // Who was faster marked the same.
        store
            .put(&name::damaged(pack), Bytes::from(mark.encode()))
            .await?;
    }
    Ok(packs.len() as u64)
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
        mark(&self.inner, &packs_of(objects)).await
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
