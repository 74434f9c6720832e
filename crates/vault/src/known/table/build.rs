//! Writing a table.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use tresor_model::VaultId;
use tresor_vault_format::{LeafChunk, PackId};

use super::filter::Filter;
use super::{
    BLOCK, BLOCK_CHECK, Data, END, ENTRY, MAGIC, PER_BLOCK, Table, TablePack, VERSION, order,
};

/// Takes entries in rising order of their ids.
pub(crate) struct TableBuilder {
    vault: VaultId,
    sink: Sink,
    packs: Vec<TablePack>,
    numbers: HashMap<PackId, u32>,
    filter: Filter,
    fences: Vec<u64>,
    block: Vec<u8>,
    entries: u64,
    last: Option<LeafChunk>,
}

enum Sink {
    File(BufWriter<File>),
    Memory(Vec<u8>),
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all(bytes),
            Self::Memory(all) => {
                all.extend_from_slice(bytes);
                Ok(())
            }
        }
    }
}

impl TableBuilder {
    /// A table of at most so many entries, into an empty file, or into memory without one. `packs`
    /// are all that entries may lie in, and those that are known to hold no chunk.
    pub(crate) fn new(
        file: Option<File>,
        vault: VaultId,
        packs: Vec<TablePack>,
        most_entries: u64,
    ) -> Self {
        let numbered = (0..).zip(&packs).map(|(number, pack)| (pack.id, number));
        Self {
            vault,
            sink: file.map_or(Sink::Memory(Vec::new()), |file| {
                Sink::File(BufWriter::with_capacity(64 * BLOCK, file))
            }),
            numbers: numbered.collect(),
            packs,
            filter: Filter::for_entries(most_entries),
            fences: Vec::new(),
            block: Vec::with_capacity(BLOCK),
            entries: 0,
            last: None,
        }
    }

    /// Adds an entry. A second place of the same chunk is dropped, as is a chunk in a pack that is
    /// not among the table's.
    pub(crate) fn push(&mut self, chunk: &LeafChunk) -> io::Result<()> {
        let Some(pack) = self.numbers.get(&chunk.frame.pack) else {
            return Ok(());
        };
        match self.last.map(|last| last.id.cmp(&chunk.id)) {
            Some(std::cmp::Ordering::Equal) => return Ok(()),
            Some(std::cmp::Ordering::Greater) => {
                return Err(io::Error::other("the entries of a table rise"));
            }
            Some(std::cmp::Ordering::Less) | None => {}
        }
        if self.block.is_empty() {
            self.fences.push(order(&chunk.id));
        }
        let block = &mut self.block;
        block.extend_from_slice(&chunk.id.0);
        for number in [*pack, chunk.frame.offset, chunk.frame.length] {
            block.extend_from_slice(&number.to_le_bytes());
        }
        block.extend_from_slice(&[chunk.slot, 0, 0, 0]);
        self.filter.insert(&chunk.id);
        self.entries += 1;
        self.last = Some(*chunk);
        if self.block.len() == PER_BLOCK * ENTRY {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        self.block.resize(BLOCK - BLOCK_CHECK, 0);
        let check = blake3::hash(&self.block);
        self.block
            .extend_from_slice(&check.as_bytes()[..BLOCK_CHECK]);
        self.sink.write(&self.block)?;
        self.block.clear();
        Ok(())
    }

    /// Ends the table.
    pub(crate) fn finish(mut self) -> io::Result<Table> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let mut body = Vec::new();
        for fence in &self.fences {
            body.extend_from_slice(&fence.to_le_bytes());
        }
        for pack in &self.packs {
            body.extend_from_slice(&pack.id.0);
            body.extend_from_slice(&pack.size.to_le_bytes());
        }
        for word in self.filter.words() {
            body.extend_from_slice(&word.to_le_bytes());
        }
        let end = self.end(&body);
        self.sink.write(&body)?;
        self.sink.write(&end)?;
        let data = match self.sink {
            Sink::File(file) => {
                Data::File(file.into_inner().map_err(io::IntoInnerError::into_error)?)
            }
            Sink::Memory(all) => Data::Memory(all),
        };
        Ok(Table {
            data,
            entries: self.entries,
            fences: self.fences,
            packs: self.packs,
            filter: self.filter,
        })
    }

    fn end(&self, body: &[u8]) -> [u8; END] {
        let mut end = [0; END];
        end[..8].copy_from_slice(MAGIC);
        end[8..12].copy_from_slice(&VERSION.to_le_bytes());
        end[12..28].copy_from_slice(self.vault.as_uuid().as_bytes());
        let counts = [
            self.entries,
            self.fences.len() as u64,
            self.packs.len() as u64,
            self.filter.words().len() as u64,
        ];
        for (place, count) in end[32..64].chunks_exact_mut(8).zip(counts) {
            place.copy_from_slice(&count.to_le_bytes());
        }
        let check = end_check(body, &end);
        end[END - 32..].copy_from_slice(check.as_bytes());
        end
    }
}

/// The check over everything behind the blocks but itself.
pub(super) fn end_check(body: &[u8], end: &[u8; END]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(body);
    hasher.update(&end[..END - 32]);
    hasher.finalize()
}
