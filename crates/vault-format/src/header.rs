//! The object `vault`. Layout: docs/format/vault.md.

use tresor_model::VaultId;
use uuid::Uuid;

use crate::codec::{Reader, append_check, checked, len_u32};
use crate::error::{Error, Result};
use crate::limits::{CHUNK_SIZE, FRAME_LIMIT};

const MAGIC: [u8; 8] = *b"TRESORVH";
const VERSION: u16 = 1;
const PART: &str = "vault header";

/// What never changes about a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultHeader {
    /// Its id.
    pub vault: VaultId,
    /// Milliseconds since 1970, by the creator's clock. For people.
    pub created_ms: i64,
}

impl VaultHeader {
    /// The object's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(74);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(self.vault.as_uuid().as_bytes());
        out.extend_from_slice(&(len_u32(CHUNK_SIZE)).to_le_bytes());
        out.extend_from_slice(&(len_u32(FRAME_LIMIT)).to_le_bytes());
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        append_check(&mut out);
        out
    }

    /// Reads the object's bytes.
    ///
    /// # Errors
    /// When they are not those of a vault header that this version can read.
    pub fn decode(object: &[u8]) -> Result<Self> {
        let body = checked(object, MAGIC, VERSION, PART)?;
        let mut reader = Reader::new(body, PART);
        reader.preamble(MAGIC, VERSION)?;
        let vault = VaultId::from_uuid(Uuid::from_bytes(reader.array()?));
        let grain = (reader.u32()?, reader.u32()?);
        if grain != (len_u32(CHUNK_SIZE), len_u32(FRAME_LIMIT)) {
            return Err(Error::malformed(PART));
        }
        let created_ms = reader.i64()?;
        reader.finish()?;
        Ok(Self { vault, created_ms })
    }

    /// The hash that key rings carry, so that nobody can change the header unseen.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.encode()).as_bytes()
    }
}
