//! The mark that a recovery point has expired. Layout: docs/format/expired.md.

use tresor_model::{SessionId, VaultId};

use crate::error::Result;
use crate::stamp::{self, Kind};

const MARK: Kind = Kind {
    magic: *b"TRESORSX",
    version: 1,
    what: "expiry mark",
};

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
        stamp::encode(MARK, (self.vault, self.session, self.marked_ms))
    }

    /// Reads the object's bytes.
    ///
    /// # Errors
    /// When they are not those of a mark that this version can read.
    pub fn decode(object: &[u8]) -> Result<Self> {
        let (vault, session, marked_ms) = stamp::decode(MARK, object)?;
        Ok(Self {
            vault,
            session,
            marked_ms,
        })
    }
}
