//! Objects that say one thing of one session: their kind, the vault, the session, a time.

use tresor_model::{SessionId, VaultId};
use uuid::Uuid;

use crate::codec::{Reader, append_check, checked};
use crate::error::Result;

/// What tells one kind of them from another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u16,
    /// In words, for errors.
    pub(crate) what: &'static str,
}

/// The vault, the session, and milliseconds since 1970.
pub(crate) type Stamp = (VaultId, SessionId, i64);

pub(crate) fn encode(kind: Kind, (vault, session, at_ms): Stamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    out.extend_from_slice(&kind.magic);
    out.extend_from_slice(&kind.version.to_le_bytes());
    out.extend_from_slice(vault.as_uuid().as_bytes());
    out.extend_from_slice(session.as_uuid().as_bytes());
    out.extend_from_slice(&at_ms.to_le_bytes());
    append_check(&mut out);
    out
}

pub(crate) fn decode(kind: Kind, object: &[u8]) -> Result<Stamp> {
    let body = checked(object, kind.magic, kind.version, kind.what)?;
    let mut reader = Reader::new(body, kind.what);
    reader.preamble(kind.magic, kind.version)?;
    let vault = VaultId::from_uuid(Uuid::from_bytes(reader.array()?));
    let session = SessionId::from_uuid(Uuid::from_bytes(reader.array()?));
    let at_ms = reader.i64()?;
    reader.finish()?;
    Ok((vault, session, at_ms))
}
