//! The mark that a recovery point has expired. Layout: docs/format/expired.md.

use tresor_model::{SessionId, VaultId};
use uuid::Uuid;

use crate::codec::{Reader, append_check, checked};
use crate::error::Result;

const MAGIC: [u8; 8] = *b"TRESORSX";
const VERSION: u16 = 1;
const WHAT: &str = "expiry mark";

/// `expired/<id>`: nobody wants this session's recovery point any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiryMark {
    /// The vault.
    pub vault: VaultId,
    /// The session whose point it is.
    pub session: SessionId,
    /// Milliseconds since 1970, by the clock of whoever marked it. For people.
    pub marked_ms: i64,
}

impl ExpiryMark {
    /// The object's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(self.vault.as_uuid().as_bytes());
        out.extend_from_slice(self.session.as_uuid().as_bytes());
        out.extend_from_slice(&self.marked_ms.to_le_bytes());
        append_check(&mut out);
        out
    }

    /// Reads the object's bytes.
    ///
    /// # Errors
    /// When they are not those of a mark that this version can read.
    pub fn decode(object: &[u8]) -> Result<Self> {
        let body = checked(object, MAGIC, VERSION, WHAT)?;
        let mut reader = Reader::new(body, WHAT);
        reader.preamble(MAGIC, VERSION)?;
        let mark = Self {
            vault: VaultId::from_uuid(Uuid::from_bytes(reader.array()?)),
            session: SessionId::from_uuid(Uuid::from_bytes(reader.array()?)),
            marked_ms: reader.i64()?,
        };
        reader.finish()?;
        Ok(mark)
    }
}
