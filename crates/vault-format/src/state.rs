//! What is decided of a recovery point after it was committed, and for how long a vault is locked.
//! Layouts: docs/format/state.md.

use tresor_model::{SessionId, VaultId};
use uuid::Uuid;

use crate::codec::{Reader, append_check, checked};
use crate::error::{Error, Result};

const STATE_MAGIC: [u8; 8] = *b"TRESORST";
const STATE: &str = "point state";
const LOCK_MAGIC: [u8; 8] = *b"TRESORLK";
const LOCK: &str = "vault lock";
const VERSION: u16 = 1;

const PINNED: u8 = 1;
const DELETED: u8 = 2;
const ENDED: u8 = 4;
const IMMUTABLE: u8 = 8;

/// `states/<session>-<number>`: all that is decided of a session's recovery point. Each state has
/// everything that the one before had, but what it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PointState {
    /// The vault.
    pub vault: VaultId,
    /// The session whose point it is.
    pub session: SessionId,
    /// From 1, without gaps.
    pub number: u32,
    /// Milliseconds since 1970, by the clock of whoever put it. For people.
    pub made_ms: i64,
    /// Somebody wants the point to stay.
    pub pinned: bool,
    /// Milliseconds since 1970 before which it cannot be removed.
    pub immutable_until_ms: Option<i64>,
    /// It was deleted at the first time, and until the second this can be taken back for sure.
    pub deleted_ms: Option<(i64, i64)>,
    /// It is gone for good: no state follows.
    pub ended: bool,
}

impl PointState {
    /// The object's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.pinned, PINNED)
            | flag(self.deleted_ms.is_some(), DELETED)
            | flag(self.ended, ENDED)
            | flag(self.immutable_until_ms.is_some(), IMMUTABLE);
        let (deleted, until) = self.deleted_ms.unwrap_or_default();
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(&STATE_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(self.vault.as_uuid().as_bytes());
        out.extend_from_slice(self.session.as_uuid().as_bytes());
        out.extend_from_slice(&self.made_ms.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.push(flags);
        out.extend_from_slice(&[0; 3]);
        for time in [self.immutable_until_ms.unwrap_or_default(), deleted, until] {
            out.extend_from_slice(&time.to_le_bytes());
        }
        append_check(&mut out);
        out
    }

    /// Reads the object's bytes.
    ///
    /// # Errors
    /// When they are not those of a state that this version can read.
    pub fn decode(object: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(checked(object, STATE_MAGIC, VERSION, STATE)?, STATE);
        reader.preamble(STATE_MAGIC, VERSION)?;
        let vault = VaultId::from_uuid(Uuid::from_bytes(reader.array()?));
        let session = SessionId::from_uuid(Uuid::from_bytes(reader.array()?));
        let made_ms = reader.i64()?;
        let number = reader.u32()?;
        let flags = reader.u8()?;
        reader.reserved(3)?;
        let (immutable, deleted, until) = (reader.i64()?, reader.i64()?, reader.i64()?);
        reader.finish()?;
        let has = |bit: u8| flags & bit != 0;
        let known = flags & !(PINNED | DELETED | ENDED | IMMUTABLE) == 0;
        // Times that nothing speaks of are zero, so that one state has one form.
        let spare =
            (!has(IMMUTABLE) && immutable != 0) || (!has(DELETED) && (deleted, until) != (0, 0));
        if !known || spare || number == 0 {
            return Err(Error::malformed(STATE));
        }
        Ok(Self {
            vault,
            session,
            number,
            made_ms,
            pinned: has(PINNED),
            immutable_until_ms: has(IMMUTABLE).then_some(immutable),
            deleted_ms: has(DELETED).then_some((deleted, until)),
            ended: has(ENDED),
        })
    }
}

/// `locks/<number>`: every recovery point of the vault is immutable for so many days from its end
/// on. The longest of all counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VaultLock {
    /// The vault.
    pub vault: VaultId,
    /// From 1.
    pub number: u32,
    /// Milliseconds since 1970, by the clock of whoever put it. For people.
    pub made_ms: i64,
    /// Days of 86,400 seconds.
    pub min_days: u32,
}

impl VaultLock {
    /// The object's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(80);
        out.extend_from_slice(&LOCK_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(self.vault.as_uuid().as_bytes());
        out.extend_from_slice(&self.made_ms.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.min_days.to_le_bytes());
        append_check(&mut out);
        out
    }

    /// Reads the object's bytes.
    ///
    /// # Errors
    /// When they are not those of a lock that this version can read.
    pub fn decode(object: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(checked(object, LOCK_MAGIC, VERSION, LOCK)?, LOCK);
        reader.preamble(LOCK_MAGIC, VERSION)?;
        let vault = VaultId::from_uuid(Uuid::from_bytes(reader.array()?));
        let made_ms = reader.i64()?;
        let (number, min_days) = (reader.u32()?, reader.u32()?);
        reader.finish()?;
        if number == 0 {
            return Err(Error::malformed(LOCK));
        }
        Ok(Self {
            vault,
            number,
            made_ms,
            min_days,
        })
    }
}
