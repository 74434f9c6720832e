//! The mark that a pack is damaged. Layout: docs/format/damaged.md.

use tresor_model::{SessionId, VaultId};
use uuid::Uuid;

use crate::error::Result;
use crate::id::PackId;
use crate::stamp::{self, Kind};

const MARK: Kind = Kind {
    magic: *b"TRESORDM",
    version: 1,
    what: "damage mark",
};

/// `damaged/<pack>`: somebody found that this pack cannot be read, or not all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DamageMark {
    /// The vault.
    pub vault: VaultId,
    /// The pack.
    pub pack: PackId,
    /// Milliseconds since 1970, by the clock of whoever found it. For people.
    pub found_ms: i64,
}

impl DamageMark {
    /// The object's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Both ids are 16 bytes: the stamp does not care whose they are.
        let pack = SessionId::from_uuid(Uuid::from_bytes(self.pack.0));
        stamp::encode(MARK, (self.vault, pack, self.found_ms))
    }

    /// Reads the object's bytes.
    ///
    /// # Errors
    /// When they are not those of a mark that this version can read.
    pub fn decode(object: &[u8]) -> Result<Self> {
        let (vault, pack, found_ms) = stamp::decode(MARK, object)?;
        Ok(Self {
            vault,
            pack: PackId(*pack.as_uuid().as_bytes()),
            found_ms,
        })
    }
}
