//! Index runs: sorted lists of where chunks and nodes lie. Layout: docs/format/index.md.
//!
//! An index is a convenience: it can be made again from the footers of the packs it lists.

use tresor_model::{SessionId, VaultId};
use uuid::Uuid;

use crate::codec::{CHECK_LEN, Reader, append_check, checked, len_u32};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{FrameLocation, Location, PackId};
use crate::keys::KeyRing;
use crate::limits::{FRAME_LIMIT, INDEX_BLOCK_ENTRIES, INDEX_LIMIT, INDEX_PACKS, PACK_LIMIT};
use crate::pack::PackKind;
use crate::seal::{Purpose, SealKey, TAG_LEN};

const MAGIC: [u8; 8] = *b"TRESORIX";
const VERSION: u16 = 1;
const PART: &str = "index run";
const ENTRY_LEN: usize = 52;
const MAX_ENTRIES: usize = INDEX_LIMIT / ENTRY_LEN;
/// Where the number of packs is.
const PACKS_AT: usize = 66;
/// Bytes before the list of packs.
pub const INDEX_FIXED: usize = PACKS_AT + 8;
/// Bytes of a pack in the list.
const PACK_LEN: usize = 21;

/// What everybody can know of an index run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexHeader {
    /// Its vault.
    pub vault: VaultId,
    /// The session that wrote it.
    pub session: SessionId,
    /// Its number within the session, from 0.
    pub number: u32,
    /// Number of the data key that seals it.
    pub epoch: u32,
    /// Random; makes the sealing key unique.
    pub salt: [u8; 16],
    /// The packs it covers, all of their entries.
    pub packs: Vec<IndexPack>,
}

/// A pack in an index run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexPack {
    /// Its id.
    pub id: PackId,
    /// Size of the object in bytes.
    pub size: u32,
    /// What it holds, and so what its entries are.
    pub kind: PackKind,
}

/// Where the bytes of an id lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexEntry {
    /// A chunk id or a node id, by the pack's kind.
    pub id: [u8; 32],
    /// Where.
    pub location: Location,
}

/// An index run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRun {
    /// The public part.
    pub header: IndexHeader,
    /// The entries, in rising order.
    pub entries: Vec<IndexEntry>,
}

impl IndexRun {
    /// The object's bytes. Entries of packs that the header does not list are left out.
    ///
    /// # Errors
    /// When the ring has no key of the header's number.
    pub fn encode(&self, ring: &KeyRing) -> Result<Vec<u8>> {
        let key = ring.index_key(self.header.epoch, &self.header.salt)?;
        let mut numbers: Vec<_> = (0..)
            .zip(&self.header.packs)
            .map(|(n, p)| (p.id, n))
            .collect();
        numbers.sort_unstable();
        let number_of = |pack: &PackId| -> Option<u32> {
            let at = numbers.binary_search_by_key(pack, |(id, _)| *id).ok()?;
            Some(numbers[at].1)
        };
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .filter_map(|entry| Some((entry, number_of(&entry.location.frame.pack)?)))
            .collect();
        entries.sort_unstable();

        let mut out = self.header.encode(entries.len());
        let aad = *blake3::hash(&out).as_bytes();
        let start = out.len();
        for block in entries.chunks(INDEX_BLOCK_ENTRIES) {
            out.extend_from_slice(&block[0].0.id);
        }
        key.seal(Purpose::Fences, 0, &aad, &mut out, start);
        for (number, block) in (0..).zip(entries.chunks(INDEX_BLOCK_ENTRIES)) {
            let start = out.len();
            for (entry, pack) in block {
                write_entry(&mut out, entry, *pack);
            }
            key.seal(Purpose::Block, number, &aad, &mut out, start);
        }
        append_check(&mut out);
        Ok(out)
    }

    /// Reads and opens the object's bytes.
    ///
    /// # Errors
    /// When they are not those of an index run that this version can read.
    pub fn decode(object: &[u8], ring: &KeyRing) -> Result<Self> {
        let (header, layout) = IndexHeader::decode(object)?;
        let key = ring.index_key(header.epoch, &header.salt)?;
        let aad = *blake3::hash(&object[..layout.public_len]).as_bytes();
        let body = &object[layout.public_len..object.len() - CHECK_LEN];
        let mut reader = Reader::new(body, PART);
        let blocks = layout.entries.div_ceil(INDEX_BLOCK_ENTRIES);
        let mut fences = reader.take(blocks * 32 + TAG_LEN)?.to_vec();
        let fences = key.open(Purpose::Fences, 0, &aad, &mut fences, PART)?;
        let mut entries = Vec::with_capacity(layout.entries);
        for (number, fence) in (0..).zip(fences.chunks_exact(32)) {
            let left = layout.entries - entries.len();
            let sealed = reader.take(left.min(INDEX_BLOCK_ENTRIES) * ENTRY_LEN + TAG_LEN)?;
            let before = entries.len();
            read_block(&key, number, &aad, sealed, &header.packs, &mut entries)?;
            if entries[before].id != fence {
                return Err(Error::malformed(PART));
            }
        }
        reader.finish()?;
        if entries.is_sorted() {
            Ok(Self { header, entries })
        } else {
            Err(Error::malformed(PART))
        }
    }
}

/// What the public part says about the rest.
#[derive(Debug, Clone, Copy)]
pub struct IndexLayout {
    entries: usize,
    public_len: usize,
}

impl IndexHeader {
    fn encode(&self, entries: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.packs.len() * 21 + entries * (ENTRY_LEN + 1));
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(self.vault.as_uuid().as_bytes());
        out.extend_from_slice(self.session.as_uuid().as_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&len_u32(self.packs.len()).to_le_bytes());
        out.extend_from_slice(&len_u32(entries).to_le_bytes());
        for pack in &self.packs {
            out.extend_from_slice(&pack.id.0);
            out.extend_from_slice(&pack.size.to_le_bytes());
            out.push(pack.kind.code());
        }
        out
    }

    /// Reads the public part and checks the hash of the whole object; needs no key.
    ///
    /// # Errors
    /// When the bytes are not those of an index run that this version can read.
    pub fn decode(object: &[u8]) -> Result<(Self, IndexLayout)> {
        if object.len() > INDEX_LIMIT {
            return Err(Error::new(ErrorKind::TooLarge, PART));
        }
        let body = checked(object, MAGIC, VERSION, PART)?;
        let mut reader = Reader::new(body, PART);
        let (header, entries) = Self::read(&mut reader)?;
        if reader.remaining() != sealed_len(entries) {
            return Err(Error::malformed(PART));
        }
        let public_len = body.len() - reader.remaining();
        Ok((
            header,
            IndexLayout {
                entries,
                public_len,
            },
        ))
    }

    /// How long the public part is, by the first [`INDEX_FIXED`] bytes of the object.
    ///
    /// # Errors
    /// When they are not those of an index run that this version can read.
    pub fn public_len(first: &[u8]) -> Result<usize> {
        let mut reader = Reader::new(first, PART);
        reader.preamble(MAGIC, VERSION)?;
        reader.take(PACKS_AT - 10)?;
        let packs = reader.len32(INDEX_PACKS)?;
        reader.len32(MAX_ENTRIES)?;
        Ok(INDEX_FIXED + packs * PACK_LEN)
    }

    /// Reads of whom the first [`INDEX_FIXED`] bytes are: vault, session, number in the session, and
    /// the number of the data key. Who only sorts runs by their keys need not read them; the hash is
    /// not checked.
    ///
    /// # Errors
    /// When the bytes are not those of an index run that this version can read.
    pub fn decode_first(first: &[u8]) -> Result<(VaultId, SessionId, u32, u32)> {
        let mut reader = Reader::new(first, PART);
        reader.preamble(MAGIC, VERSION)?;
        let vault = VaultId::from_uuid(Uuid::from_bytes(reader.array()?));
        let session = SessionId::from_uuid(Uuid::from_bytes(reader.array()?));
        Ok((vault, session, reader.u32()?, reader.u32()?))
    }

    /// Reads the public part alone, of an object of `size` bytes: who only wants to know of which
    /// packs a run tells need not read the run. The hash of the object is not checked.
    ///
    /// # Errors
    /// When the bytes are not those of an index run that this version can read, of that size.
    pub fn decode_public(public: &[u8], size: u64) -> Result<Self> {
        let mut reader = Reader::new(public, PART);
        let (header, entries) = Self::read(&mut reader)?;
        reader.finish()?;
        let whole = (public.len() + sealed_len(entries) + CHECK_LEN) as u64;
        match whole == size {
            true => Ok(header),
            false if size < whole => Err(Error::new(ErrorKind::Truncated, PART)),
            false => Err(Error::malformed(PART)),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<(Self, usize)> {
        reader.preamble(MAGIC, VERSION)?;
        let vault = VaultId::from_uuid(Uuid::from_bytes(reader.array()?));
        let session = SessionId::from_uuid(Uuid::from_bytes(reader.array()?));
        let number = reader.u32()?;
        let epoch = reader.u32()?;
        let salt = reader.array()?;
        let pack_count = reader.len32(INDEX_PACKS)?;
        let entries = reader.len32(MAX_ENTRIES)?;
        let mut packs = Vec::with_capacity(pack_count.min(reader.remaining() / PACK_LEN));
        for _ in 0..pack_count {
            packs.push(IndexPack {
                id: PackId(reader.array()?),
                size: len_u32(reader.len32(PACK_LIMIT)?),
                kind: PackKind::from_code(reader.u8()?, PART)?,
            });
        }
        let header = Self {
            vault,
            session,
            number,
            epoch,
            salt,
            packs,
        };
        Ok((header, entries))
    }
}

/// Bytes of fences and blocks.
const fn sealed_len(entries: usize) -> usize {
    let blocks = entries.div_ceil(INDEX_BLOCK_ENTRIES);
    TAG_LEN + blocks * (32 + TAG_LEN) + entries * ENTRY_LEN
}

fn write_entry(out: &mut Vec<u8>, entry: &IndexEntry, pack: u32) {
    let Location { frame, at, size } = entry.location;
    out.extend_from_slice(&entry.id);
    for field in [pack, frame.offset, frame.length, at, size] {
        out.extend_from_slice(&field.to_le_bytes());
    }
}

fn read_block(
    key: &SealKey,
    number: u64,
    aad: &[u8],
    sealed: &[u8],
    packs: &[IndexPack],
    entries: &mut Vec<IndexEntry>,
) -> Result<()> {
    let mut plain = sealed.to_vec();
    let plain = key.open(Purpose::Block, number, aad, &mut plain, PART)?;
    let mut reader = Reader::new(plain, PART);
    while reader.remaining() > 0 {
        let id = reader.array()?;
        let pack = usize::try_from(reader.u32()?)
            .ok()
            .and_then(|pack| packs.get(pack));
        let pack = pack.ok_or(Error::malformed(PART))?;
        let frame = FrameLocation {
            pack: pack.id,
            offset: reader.u32()?,
            length: reader.u32()?,
        };
        let location = Location {
            frame,
            at: reader.u32()?,
            size: reader.u32()?,
        };
        location.check(pack.size, PART)?;
        entries.push(IndexEntry { id, location });
    }
    Ok(())
}

impl Location {
    /// Whether it can exist in a pack of `pack_size` bytes.
    pub(crate) fn check(&self, pack_size: u32, part: &'static str) -> Result<()> {
        let inside = |at: u32, len: u32, limit: usize| {
            at.checked_add(len).is_some_and(|end| end as usize <= limit)
        };
        if inside(self.frame.offset, self.frame.length, pack_size as usize)
            && inside(self.at, self.size, FRAME_LIMIT)
            && self.frame.length as usize <= crate::frame::FRAME_STORED_LIMIT
        {
            Ok(())
        } else {
            Err(Error::malformed(part))
        }
    }
}
