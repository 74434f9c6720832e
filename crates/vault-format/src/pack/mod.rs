//! Packs: objects of many frames, with a footer for everybody and one for key holders.
//! Layout: docs/format/pack.md.

mod tail;
mod writer;

pub use tail::{PackContents, PackFrame, PackTail, PublicFrame, TailLayout};
pub use writer::{FinishedPack, PackWriter};

use tresor_model::SessionId;
use uuid::Uuid;

use crate::codec::Reader;
use crate::error::{Error, Result};
use crate::id::PackId;

const MAGIC: [u8; 8] = *b"TRESORPK";
const END_MAGIC: [u8; 8] = *b"TRESORPE";
const VERSION: u16 = 1;
const PART: &str = "pack";

/// Bytes of the header.
pub const HEADER_LEN: usize = 48;
/// Bytes of the trailer.
pub const TRAILER_LEN: usize = 56;
/// Bytes of the public footer for each frame: length and hash.
const PUBLIC_ENTRY_LEN: usize = 36;

/// What a pack holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackKind {
    /// Chunks.
    Data,
    /// Manifest nodes.
    Tree,
}

impl PackKind {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Tree => 2,
        }
    }

    pub(crate) const fn from_code(code: u8, part: &'static str) -> Result<Self> {
        match code {
            1 => Ok(Self::Data),
            2 => Ok(Self::Tree),
            _ => Err(Error::malformed(part)),
        }
    }
}

/// The header of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackHeader {
    /// Its id.
    pub id: PackId,
    /// What it holds.
    pub kind: PackKind,
    /// The session that wrote it.
    pub writer: SessionId,
}

impl PackHeader {
    fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10] = self.kind.code();
        out[16..32].copy_from_slice(&self.id.0);
        out[32..].copy_from_slice(self.writer.as_uuid().as_bytes());
        out
    }

    /// Reads the first [`HEADER_LEN`] bytes of a pack.
    ///
    /// # Errors
    /// When they are not those of a pack that this version can read.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, PART);
        reader.preamble(MAGIC, VERSION)?;
        let kind = PackKind::from_code(reader.u8()?, PART)?;
        reader.reserved(5)?;
        let id = PackId(reader.array()?);
        let writer = SessionId::from_uuid(Uuid::from_bytes(reader.array()?));
        reader.finish()?;
        Ok(Self { id, kind, writer })
    }
}
