//! The packs that are in the vault now.

use std::collections::{HashMap, HashSet};

use tresor_vault_format::{PackId, name};

use crate::error::Result;
use crate::known::table::TablePack;
use crate::vault::Inner;

/// Listed packs with the sizes of their objects.
#[derive(Debug, Default)]
pub(super) struct ListedPacks(HashMap<PackId, u64>);

impl ListedPacks {
    pub(super) async fn list(vault: &Inner) -> Result<Self> {
        let listed = vault.store.list(name::PACKS).await?;
        let packs = listed
            .iter()
            .filter_map(|meta| Some((name::parse_pack(meta.name.as_str())?, meta.size)));
        Ok(Self(packs.collect()))
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
    pub(super) fn without(&self, covered: impl Iterator<Item = TablePack>) -> Vec<(PackId, u64)> {
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
