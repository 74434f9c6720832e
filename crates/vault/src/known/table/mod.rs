//! A sorted table of chunks and where they lie, on disk (or in memory, where there is no place for
//! it). Written once, never changed.
//!
//! Layout: docs/format/index-cache.md.
//!
//! # Invariants
//! - What a table says is what an index run or a footer of the vault said: a block whose check
//!   does not hold is an error, never a wrong place.
//! - Memory is the filter, the fences and the packs: some 11 bits for each chunk.
//!
//! # After a crash
//! A half-written file has no end, or its check does not hold: it is no table.

mod build;
mod filter;

pub(super) use build::TableBuilder;

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use tresor_model::VaultId;
use tresor_vault_format::limits::PACK_LIMIT;
use tresor_vault_format::{ChunkId, FrameLocation, LeafChunk, PackId};

use self::filter::Filter;

const MAGIC: &[u8; 8] = b"TRESORKT";
const VERSION: u32 = 1;
const BLOCK: usize = 4096;
const BLOCK_CHECK: usize = 16;
const ENTRY: usize = 48;
/// Entries of a block.
const PER_BLOCK: usize = (BLOCK - BLOCK_CHECK) / ENTRY;
const PACK: usize = 20;
const END: usize = 128;

/// A pack that entries of a table lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TablePack {
    pub(crate) id: PackId,
    /// Size of the object in bytes.
    pub(crate) size: u32,
}

/// Where the bytes of a table are.
#[derive(Debug)]
pub(super) enum Data {
    File(File),
    Memory(Vec<u8>),
}

impl Data {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(bytes, offset),
            Self::Memory(all) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let part = all.get(start..).and_then(|rest| rest.get(..bytes.len()));
                bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    data: Data,
    entries: u64,
    fences: Vec<u64>,
    packs: Vec<TablePack>,
    filter: Filter,
}

impl Table {
    /// Opens a file that [`TableBuilder`] wrote for this vault.
    pub(super) fn open(mut file: File, vault: VaultId) -> io::Result<Self> {
        let length = file.seek(SeekFrom::End(0))?;
        let end_at = length.checked_sub(END as u64).ok_or_else(damaged)?;
        let mut end = [0; END];
        file.read_exact_at(&mut end, end_at)?;
        let counts = parse_end(&end, vault).ok_or_else(damaged)?;
        let body_at = counts.body_at(end_at).ok_or_else(damaged)?;
        let mut body = vec![0; usize::try_from(end_at - body_at).map_err(io::Error::other)?];
        file.seek(SeekFrom::Start(body_at))?;
        file.read_exact(&mut body)?;
        if end[END - 32..] != *build::end_check(&body, &end).as_bytes() {
            return Err(damaged());
        }
        let (fences, rest) = body.split_at(counts.blocks * 8);
        let (packs, filter) = rest.split_at(counts.packs * PACK);
        Ok(Self {
            data: Data::File(file),
            entries: counts.entries,
            fences: words(fences),
            packs: packs.chunks_exact(PACK).filter_map(parse_pack).collect(),
            filter: Filter::from_words(words(filter)).ok_or_else(damaged)?,
        })
    }

    /// How many chunks it lists.
    pub(super) fn len(&self) -> u64 {
        self.entries
    }

    /// The packs it knows of, with or without chunks.
    pub(super) fn packs(&self) -> &[TablePack] {
        &self.packs
    }

    /// Where a chunk lies, with the number of its pack in [`Self::packs`].
    pub(super) fn find(&self, id: &ChunkId) -> io::Result<Option<(LeafChunk, usize)>> {
        if !self.filter.may_hold(id) {
            return Ok(None);
        }
        let behind = self.fences.partition_point(|fence| *fence <= order(id));
        let Some(block) = behind.checked_sub(1) else {
            return Ok(None);
        };
        let entries = self.block(block)?;
        let found = entries.binary_search_by(|(chunk, _)| chunk.id.cmp(id));
        Ok(found.ok().and_then(|at| entries.get(at).copied()))
    }

    /// The entries of a block.
    fn block(&self, number: usize) -> io::Result<Vec<(LeafChunk, usize)>> {
        let mut bytes = [0; BLOCK];
        self.data.read_at(&mut bytes, (number * BLOCK) as u64)?;
        let (content, check) = bytes.split_at(BLOCK - BLOCK_CHECK);
        if check != &blake3::hash(content).as_bytes()[..BLOCK_CHECK] {
            return Err(damaged());
        }
        let before = (number * PER_BLOCK) as u64;
        let here = (self.entries - before.min(self.entries)).min(PER_BLOCK as u64);
        let entries = content.chunks_exact(ENTRY).map(|entry| self.entry(entry));
        entries
            .take(usize::try_from(here).unwrap_or(PER_BLOCK))
            .map(|entry| entry.ok_or_else(damaged))
            .collect()
    }

    fn entry(&self, bytes: &[u8]) -> Option<(LeafChunk, usize)> {
        let (id, rest) = bytes.split_first_chunk::<32>()?;
        let number = |at: usize| Some(u32::from_le_bytes(*rest.get(at..)?.first_chunk()?));
        let pack = usize::try_from(number(0)?).ok()?;
        let frame = FrameLocation {
            pack: self.packs.get(pack)?.id,
            offset: number(4)?,
            length: number(8)?,
        };
        let chunk = LeafChunk {
            id: ChunkId(*id),
            frame,
            slot: *rest.get(12)?,
        };
        Some((chunk, pack))
    }

    /// All entries, in rising order of their ids.
    pub(super) fn entries(&self) -> impl Iterator<Item = io::Result<(LeafChunk, usize)>> {
        (0..self.fences.len()).flat_map(|block| match self.block(block) {
            Ok(entries) => entries.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        })
    }
}

/// The number by which blocks are found.
fn order(id: &ChunkId) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&id.0[..8]);
    u64::from_be_bytes(bytes)
}

struct Counts {
    entries: u64,
    blocks: usize,
    packs: usize,
    filter_words: usize,
}

impl Counts {
    /// Where the parts behind the blocks begin, when the sizes add up to the file's.
    fn body_at(&self, end_at: u64) -> Option<u64> {
        let blocks = self.blocks.checked_mul(BLOCK)?;
        let fences = self.blocks.checked_mul(8)?;
        let packs = self.packs.checked_mul(PACK)?;
        let filter = self.filter_words.checked_mul(8)?;
        let body = fences.checked_add(packs)?.checked_add(filter)?;
        let full = u64::try_from(blocks.checked_add(body)?).ok()?;
        let fits = full == end_at && self.entries.div_ceil(PER_BLOCK as u64) == self.blocks as u64;
        fits.then_some(blocks as u64)
    }
}

fn parse_end(end: &[u8; END], vault: VaultId) -> Option<Counts> {
    let number = |at: usize| Some(u64::from_le_bytes(*end.get(at..)?.first_chunk()?));
    let size = |at: usize| usize::try_from(number(at)?).ok();
    let ours = end.starts_with(MAGIC)
        && end[8..12] == VERSION.to_le_bytes()
        && end[12..28] == *vault.as_uuid().as_bytes();
    let counts = Counts {
        entries: number(32)?,
        blocks: size(40)?,
        packs: size(48)?,
        filter_words: size(56)?,
    };
    ours.then_some(counts)
}

fn parse_pack(bytes: &[u8]) -> Option<TablePack> {
    let (id, size) = bytes.split_first_chunk::<16>()?;
    let size = u32::from_le_bytes(*size.first_chunk()?);
    let plausible = size as usize <= PACK_LIMIT;
    plausible.then_some(TablePack {
        id: PackId(*id),
        size,
    })
}

fn words(bytes: &[u8]) -> Vec<u64> {
    let words = bytes.chunks_exact(8).filter_map(|word| word.first_chunk());
    words.map(|word| u64::from_le_bytes(*word)).collect()
}

fn damaged() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a table of known chunks is damaged",
    )
}

#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "numbers of tests are small"
)]
mod tests;
