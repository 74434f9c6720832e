//! What index runs and footers say, apart by whether it is believed.

use std::collections::{HashMap, HashSet};

use tresor_vault_format::{IndexEntry, IndexRun, LeafChunk, PackId};

use super::load::chunk_of;
use super::packs::ListedPacks;
use super::table::TablePack;
use crate::trust::Word;
use crate::vault::Inner;

/// See the module.
#[derive(Default)]
pub(super) struct Said {
    pub(super) believed: Part,
    pub(super) claimed: Part,
}

/// Chunks, and all packs that were told of, those without chunks too.
#[derive(Default)]
pub(super) struct Part {
    pub(super) chunks: Vec<LeafChunk>,
    pub(super) packs: Vec<TablePack>,
}

impl Said {
    pub(super) fn len(&self) -> usize {
        self.believed.chunks.len() + self.claimed.chunks.len()
    }

    /// Takes a run apart by its packs. Of a pack of ours it is believed if it says what we know;
    /// else nothing of it counts, and the pack's own footer is asked.
    pub(super) fn take_run(&mut self, vault: &Inner, run: &IndexRun, listed: &ListedPacks) {
        let ours = ours(vault, run);
        for pack in &run.header.packs {
            let sized = TablePack {
                id: pack.id,
                size: pack.size,
            };
            if !listed.has(&sized) {
                continue;
            }
            match ours.get(&pack.id) {
                None => self.claimed.packs.push(sized),
                Some(true) => self.believed.packs.push(sized),
                Some(false) => tracing::warn!(
                    pack = %pack.id, session = %run.header.session, number = run.header.number,
                    "an index run says of a pack of this machine what is not so"
                ),
            }
        }
        for entry in &run.entries {
            let pack = &entry.location.frame.pack;
            if !vault.ring.is_of(pack.epoch(), vault.domain) {
                continue;
            }
            let part = match ours.get(pack) {
                None => &mut self.claimed,
                Some(true) => &mut self.believed,
                Some(false) => continue,
            };
            part.chunks.extend(chunk_of(entry));
        }
    }

    /// Takes what a pack says of itself.
    pub(super) fn take_footer(&mut self, vault: &Inner, pack: TablePack, entries: &[IndexEntry]) {
        let part = match vault.trust.judge(&pack.id, entries.iter()) {
            Word::Ours => &mut self.believed,
            Word::Claim | Word::Contradicts => &mut self.claimed,
        };
        part.packs.push(pack);
        part.chunks.extend(entries.iter().filter_map(chunk_of));
    }
}

/// The packs of a run that this machine wrote, and whether the run says what it wrote.
fn ours(vault: &Inner, run: &IndexRun) -> HashMap<PackId, bool> {
    let packs = run.header.packs.iter().map(|pack| pack.id);
    let written: HashSet<PackId> = packs.filter(|pack| vault.trust.has_pack(pack)).collect();
    let mut of: HashMap<PackId, Vec<&IndexEntry>> =
        written.into_iter().map(|pack| (pack, Vec::new())).collect();
    for entry in &run.entries {
        if let Some(entries) = of.get_mut(&entry.location.frame.pack) {
            entries.push(entry);
        }
    }
    let judged = of.into_iter().map(|(pack, mut entries)| {
        entries.sort_unstable_by_key(|entry| entry.location);
        let word = vault.trust.judge(&pack, entries.into_iter());
        (pack, word == Word::Ours)
    });
    judged.collect()
}
