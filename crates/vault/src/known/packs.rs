//! The packs that are in the vault now, and that nobody has found damaged.

use std::collections::{BTreeSet, HashMap, HashSet};

use tresor_vault_format::{PackId, name};

use crate::damage::marked_packs;
use crate::error::Result;
use crate::known::table::TablePack;
use crate::vault::Inner;

/// All packs with the sizes of their objects, sound or not.
pub(crate) async fn list_packs(vault: &Inner) -> Result<HashMap<PackId, u64>> {
    let listed = vault.store.list(name::PACKS).await?;
    let packs = listed
        .iter()
        .filter_map(|meta| Some((name::parse_pack(meta.name.as_str())?, meta.size)));
    Ok(packs.collect())
}

/// Listed packs with the sizes of their objects, without those that are marked as damaged.
#[derive(Debug, Default)]
pub(crate) struct ListedPacks(HashMap<PackId, u64>);

impl ListedPacks {
    pub(crate) async fn list(vault: &Inner) -> Result<Self> {
        let marked = marked_packs(vault).await?;
        let mut packs = list_packs(vault).await?;
        packs.retain(|pack, _| !marked.contains(pack));
        Ok(Self(packs))
    }

    /// Whether there is such a pack.
    pub(crate) fn has_id(&self, pack: &PackId) -> bool {
        self.0.contains_key(pack)
    }

    /// The numbers of the data keys that sealed them.
    pub(super) fn epochs(&self) -> BTreeSet<u32> {
        self.0.keys().map(PackId::epoch).collect()
    }

    /// Forgets the others.
    pub(super) fn keep(&mut self, wanted: impl Fn(&PackId) -> bool) {
        self.0.retain(|pack, _| wanted(pack));
    }

    /// These are as good as gone.
    pub(super) fn leave_out(&mut self, condemned: &[PackId]) {
        for pack in condemned {
            self.0.remove(pack);
        }
    }

    /// These and no others.
    #[cfg(test)]
    pub(super) fn of(packs: impl IntoIterator<Item = TablePack>) -> Self {
        let packs = packs
            .into_iter()
            .map(|pack| (pack.id, u64::from(pack.size)));
        Self(packs.collect())
    }

    /// Whether the pack is there, in its full size.
    pub(super) fn has(&self, pack: &TablePack) -> bool {
        self.0.get(&pack.id) == Some(&u64::from(pack.size))
    }

    /// Those that `covered` does not tell of.
    pub(crate) fn without(&self, covered: impl Iterator<Item = TablePack>) -> Vec<(PackId, u64)> {
        let covered: HashSet<PackId> = covered
            .filter(|pack| self.has(pack))
            .map(|pack| pack.id)
            .collect();
        let rest = self.0.iter().filter(|(id, _)| !covered.contains(id));
        let mut rest: Vec<_> = rest.map(|(id, size)| (*id, *size)).collect();
        rest.sort_unstable();
        rest
    }
}
