//! The chunks in packs: a few sorted tables, each at least twice as long as the next.
//!
//! # Invariants
//! - A chunk counts as known only while its pack is there ([`StoredChunks::check_presence`]).
//! - A table that cannot be read costs deduplication, never correctness: its chunks count as not
//!   known, are stored again, and the tables are not used by another session.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use tresor_model::VaultId;
use tresor_vault_format::{ChunkId, LeafChunk};

use super::cache::TableDir;
use super::packs::ListedPacks;
use super::table::{Table, TableBuilder, TablePack};

/// A table with what is known of it beyond its content.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) table: Table,
    /// For each of its packs, whether it is there.
    present: Vec<bool>,
    /// Its file, when another session may use it.
    pub(super) name: Option<String>,
}

/// All tables of a session.
#[derive(Debug)]
pub(super) struct StoredChunks {
    vault: VaultId,
    /// Where new tables go; `None`: into memory.
    dir: Option<TableDir>,
    /// Longest first.
    members: Vec<Member>,
    /// A table could not be read.
    damaged: AtomicBool,
}

impl StoredChunks {
    /// No chunks; tables will be in memory.
    pub(super) fn in_memory(vault: VaultId) -> Self {
        Self::with(vault, None, Vec::new())
    }

    /// From tables that another session left.
    pub(super) fn with(
        vault: VaultId,
        dir: Option<TableDir>,
        tables: Vec<(String, Table)>,
    ) -> Self {
        let mut members: Vec<Member> = tables
            .into_iter()
            .map(|(name, table)| Member {
                present: vec![false; table.packs().len()],
                table,
                name: Some(name),
            })
            .collect();
        members.sort_by_key(|member| std::cmp::Reverse(member.weight()));
        Self {
            vault,
            dir,
            members,
            damaged: AtomicBool::new(false),
        }
    }

    /// Where a chunk lies.
    pub(super) fn find(&self, id: &ChunkId) -> Option<LeafChunk> {
        self.find_with_pack(id).map(|(chunk, _)| chunk)
    }

    /// The same with its pack.
    pub(super) fn find_with_pack(&self, id: &ChunkId) -> Option<(LeafChunk, TablePack)> {
        // New chunks are asked for again more often than old ones.
        self.members
            .iter()
            .rev()
            .find_map(|member| match member.table.find(id) {
                Ok(found) => found
                    .filter(|(_, pack)| member.present.get(*pack).copied().unwrap_or(false))
                    .and_then(|(chunk, pack)| Some((chunk, *member.table.packs().get(pack)?))),
                Err(error) => {
                    self.give_up(&error);
                    None
                }
            })
    }

    /// A table cannot be read: no other session shall use it.
    pub(super) fn give_up(&self, error: &io::Error) {
        if self.damaged.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(%error, "the index cache is damaged: chunks may be stored again");
        if let Some(dir) = &self.dir {
            dir.forget();
        }
    }

    /// Notes which packs are there.
    pub(super) fn check_presence(&mut self, listed: &ListedPacks) {
        for member in &mut self.members {
            let packs = member.table.packs().iter();
            member.present = packs.map(|pack| listed.has(pack)).collect();
        }
    }

    /// Whether no table has a chunk.
    pub(super) fn is_empty(&self) -> bool {
        self.members.iter().all(|member| member.table.len() == 0)
    }

    /// The packs that tables tell of.
    pub(super) fn packs(&self) -> impl Iterator<Item = TablePack> {
        self.members
            .iter()
            .flat_map(|member| member.table.packs().iter().copied())
    }

    /// The packs of tables that another session may use, as far as they are there.
    pub(super) fn kept_packs(&self) -> impl Iterator<Item = TablePack> {
        let kept = self.members.iter().filter(|member| member.name.is_some());
        kept.flat_map(Member::packs_there)
    }

    /// The tables that another session may use; `None` when one of them is damaged.
    pub(super) fn names(&self) -> Option<Vec<String>> {
        let sound = !self.damaged.load(Ordering::Relaxed);
        sound.then(|| {
            self.members
                .iter()
                .filter_map(|member| member.name.clone())
                .collect()
        })
    }

    /// Adds chunks of packs that are there; `packs` are all that were looked through, those
    /// without chunks too. With `keep`, another session may use the table.
    pub(super) fn add(
        &mut self,
        chunks: Vec<LeafChunk>,
        packs: Vec<TablePack>,
        keep: bool,
    ) -> io::Result<()> {
        self.add_table(chunks, packs, keep)?;
        self.merge()
    }

    /// Puts tables together until each is at least twice as long as the next.
    pub(super) fn merge(&mut self) -> io::Result<()> {
        while let [.., longer, last] = self.members.as_slice() {
            let alike = longer.name.is_some() == last.name.is_some();
            if longer.weight() >= 2 * last.weight() || !alike {
                break;
            }
            self.merge_last_two()?;
        }
        Ok(())
    }

    /// Adds chunks that this session has put into packs.
    pub(super) fn add_of_session(&mut self, chunks: Vec<LeafChunk>) -> io::Result<()> {
        let mut packs: Vec<_> = chunks.iter().map(|chunk| chunk.frame.pack).collect();
        packs.sort_unstable();
        packs.dedup();
        let packs = packs.into_iter().map(|id| TablePack { id, size: 0 });
        self.add(chunks, packs.collect(), false)
    }

    fn add_table(
        &mut self,
        mut chunks: Vec<LeafChunk>,
        packs: Vec<TablePack>,
        keep: bool,
    ) -> io::Result<()> {
        chunks.sort_unstable_by_key(|chunk| chunk.id);
        let (name, file) = self.new_file(keep)?;
        let present = vec![true; packs.len()];
        let mut builder = TableBuilder::new(file, self.vault, packs, chunks.len() as u64);
        for chunk in &chunks {
            builder.push(chunk)?;
        }
        let table = builder.finish()?;
        self.members.push(Member {
            table,
            present,
            name,
        });
        Ok(())
    }

    /// A file for a table, with its name when it is to be kept; a file without a name is gone
    /// with its last user.
    fn new_file(&self, keep: bool) -> io::Result<(Option<String>, Option<File>)> {
        match &self.dir {
            None => Ok((None, None)),
            Some(dir) if keep => dir.create().map(|(name, file)| (Some(name), Some(file))),
            Some(dir) => dir.create_nameless().map(|file| (None, Some(file))),
        }
    }

    /// Puts the last two tables into one. Packs that are gone are left out.
    fn merge_last_two(&mut self) -> io::Result<()> {
        let [.., one, other] = self.members.as_slice() else {
            return Ok(());
        };
        let mut packs: Vec<TablePack> = one.packs_there().chain(other.packs_there()).collect();
        packs.sort_unstable_by_key(|pack| pack.id);
        packs.dedup_by_key(|pack| pack.id);
        let keep = one.name.is_some();
        let (name, file) = self.new_file(keep)?;
        let most = one.table.len() + other.table.len();
        let present = vec![true; packs.len()];
        let mut builder = TableBuilder::new(file, self.vault, packs, most);
        let (mut ones, mut others) = (
            one.table.entries().peekable(),
            other.table.entries().peekable(),
        );
        loop {
            let first_is_less = match (ones.peek(), others.peek()) {
                (Some(Ok((a, _))), Some(Ok((b, _)))) => a.id <= b.id,
                (Some(_), Some(Ok(_)) | None) => true,
                (_, Some(_)) => false,
                (None, None) => break,
            };
            let next = if first_is_less {
                ones.next()
            } else {
                others.next()
            };
            if let Some(entry) = next {
                builder.push(&entry?.0)?;
            }
        }
        drop((ones, others));
        let table = builder.finish()?;
        self.members.truncate(self.members.len() - 2);
        self.members.push(Member {
            table,
            present,
            name,
        });
        Ok(())
    }
}

impl Member {
    /// What reading and writing it costs.
    fn weight(&self) -> u64 {
        self.table.len() + self.table.packs().len() as u64
    }

    fn packs_there(&self) -> impl Iterator<Item = TablePack> {
        let packs = self.table.packs().iter().zip(&self.present);
        packs
            .filter(|(_, present)| **present)
            .map(|(pack, _)| *pack)
    }
}

#[cfg(test)]
mod tests;
