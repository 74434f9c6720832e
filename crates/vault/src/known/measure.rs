//! A table of known chunks by itself, so that its memory and speed can be measured at sizes that no
//! test makes.

use std::fs::File;
use std::io;

use tresor_model::VaultId;
use tresor_vault_format::{ChunkId, FrameLocation, LeafChunk, PackId};

use super::table::{Table, TableBuilder, TablePack};

/// Chunks of a pack, about as many as one of 32 MiB holds.
const PER_PACK: u64 = 1200;

/// A table of made-up chunks. Chunks have numbers; ids follow from them, spread evenly.
pub struct IndexProbe {
    table: Table,
    entries: u64,
}

impl IndexProbe {
    /// Writes a table of so many chunks into an empty file, as a session does that merges tables.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn build(file: File, entries: u64) -> io::Result<Self> {
        let packs = (0..entries.div_ceil(PER_PACK)).map(|number| TablePack {
            id: pack(number),
            size: 32 << 20,
        });
        let vault = VaultId::generate();
        let mut builder = TableBuilder::new(Some(file), vault, packs.collect(), entries);
        for number in 0..entries {
            // As in a vault, neighbours by id lie in packs that have nothing to do with each other.
            let place = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % entries;
            builder.push(&LeafChunk {
                id: id(2 * number, entries),
                frame: FrameLocation {
                    pack: pack(place / PER_PACK),
                    offset: u32::try_from(place % PER_PACK).unwrap_or(0) << 14,
                    length: 400_000,
                },
                slot: 3,
            })?;
        }
        Ok(Self {
            table: builder.finish()?,
            entries,
        })
    }

    /// Whether the table has a chunk: of numbers below twice its entries, the even ones.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn has(&self, number: u64) -> io::Result<bool> {
        Ok(self.table.find(&id(number, self.entries))?.is_some())
    }
}

fn pack(number: u64) -> PackId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    PackId(id)
}

/// Ids that rise with the number, and look random otherwise.
fn id(number: u64, entries: u64) -> ChunkId {
    let mut id = *blake3::hash(&number.to_le_bytes()).as_bytes();
    let step = u64::MAX / (2 * entries).max(1);
    id[..8].copy_from_slice(&(number * step).to_be_bytes());
    ChunkId(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_numbers_are_there_and_odd_ones_are_not() {
        let probe = IndexProbe::build(tempfile::tempfile().unwrap(), 5000).unwrap();
        for number in 0..10_000 {
            assert_eq!(probe.has(number).unwrap(), number % 2 == 0, "{number}");
        }
    }
}
