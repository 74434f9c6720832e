//! Sessions: the object that begins one and the object that ends it, by commit or abort.
//! Layout: docs/format/session.md; who may put which when: docs/format/commit-protocol.md.

use tresor_model::{SessionId, VaultId};
use uuid::Uuid;

use crate::codec::{Reader, append_check, checked, len_u32};
use crate::error::{Error, ErrorKind, Result};
use crate::id::PackId;
use crate::keys::KeyRing;
use crate::limits::{PACK_LIMIT, RECORD_LIMIT, SUMMARY_LIMIT, TREE_PACKS};
use crate::seal::{Purpose, TAG_LEN};
use crate::stamp::{self, Kind};

const END_MAGIC: [u8; 8] = *b"TRESORSE";
const VERSION: u16 = 1;
const BEGUN: Kind = Kind {
    magic: *b"TRESORSB",
    version: 1,
    what: "session begin",
};
const END: &str = "session end";
/// Bytes that every end has, and in which [`SessionEnd::decode_first`] reads.
pub const END_FIRST: usize = 55;
const COMMITTED: u8 = 1;
const ABORTED: u8 = 2;

/// `sessions/<id>.begin`: somebody writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionBegin {
    /// The vault.
    pub vault: VaultId,
    /// The session.
    pub session: SessionId,
    /// Milliseconds since 1970, by the writer's clock. For people.
    pub started_ms: i64,
}

impl SessionBegin {
    /// The object's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        stamp::encode(BEGUN, (self.vault, self.session, self.started_ms))
    }

    /// Reads the object's bytes.
    ///
    /// # Errors
    /// When they are not those of a session begin that this version can read.
    pub fn decode(object: &[u8]) -> Result<Self> {
        let (vault, session, started_ms) = stamp::decode(BEGUN, object)?;
        Ok(Self {
            vault,
            session,
            started_ms,
        })
    }
}

/// What everybody can know of `sessions/<id>.end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEnd {
    /// The vault.
    pub vault: VaultId,
    /// The session.
    pub session: SessionId,
    /// Milliseconds since 1970, by the clock of whoever ended it. For people.
    pub ended_ms: i64,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It never became a recovery point.
    Aborted,
    /// It is a recovery point.
    Committed(Commit),
}

/// What everybody can know of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Number of the data key that seals it.
    pub epoch: u32,
    /// Random; makes the sealing key unique.
    pub salt: [u8; 16],
    /// How many index runs the session wrote, from number 0.
    pub index_runs: u32,
    /// Its tree packs and their sizes in bytes.
    pub tree_packs: Vec<(PackId, u32)>,
}

/// What only a key holder can know of a commit: two texts of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitBody {
    /// What a list of recovery points shows.
    pub summary: Vec<u8>,
    /// The recovery point.
    pub record: Vec<u8>,
}

impl SessionEnd {
    fn public_part(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&END_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(self.vault.as_uuid().as_bytes());
        out.extend_from_slice(self.session.as_uuid().as_bytes());
        out.extend_from_slice(&self.ended_ms.to_le_bytes());
        match &self.outcome {
            Outcome::Aborted => out.push(ABORTED),
            Outcome::Committed(commit) => {
                out.push(COMMITTED);
                out.extend_from_slice(&commit.epoch.to_le_bytes());
                out.extend_from_slice(&commit.salt);
                out.extend_from_slice(&commit.index_runs.to_le_bytes());
                out.extend_from_slice(&len_u32(commit.tree_packs.len()).to_le_bytes());
                for (id, size) in &commit.tree_packs {
                    out.extend_from_slice(&id.0);
                    out.extend_from_slice(&size.to_le_bytes());
                }
            }
        }
        out
    }

    /// The bytes of an abort.
    #[must_use]
    pub fn encode_abort(vault: VaultId, session: SessionId, ended_ms: i64) -> Vec<u8> {
        let outcome = Outcome::Aborted;
        let mut out = Self {
            vault,
            session,
            ended_ms,
            outcome,
        }
        .public_part();
        append_check(&mut out);
        out
    }

    /// The bytes of a commit.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] when summary or record are beyond their limits; when the ring has
    /// no key of the commit's number.
    pub fn encode_commit(
        vault: VaultId,
        session: SessionId,
        ended_ms: i64,
        commit: Commit,
        body: &CommitBody,
        ring: &KeyRing,
    ) -> Result<Vec<u8>> {
        let too_large = Error::new(ErrorKind::TooLarge, END);
        if body.summary.len() > SUMMARY_LIMIT
            || body.record.len() > RECORD_LIMIT
            || commit.tree_packs.len() > TREE_PACKS
        {
            return Err(too_large);
        }
        let key = ring.end_key(commit.epoch, session, &commit.salt)?;
        let outcome = Outcome::Committed(commit);
        let mut out = Self {
            vault,
            session,
            ended_ms,
            outcome,
        }
        .public_part();
        let record = zstd::bulk::compress(&body.record, 3).map_err(|_| too_large)?;
        for length in [
            body.summary.len() + TAG_LEN,
            record.len() + TAG_LEN,
            body.record.len(),
        ] {
            out.extend_from_slice(&len_u32(length).to_le_bytes());
        }
        let aad = out.clone();
        for (purpose, plain) in [
            (Purpose::Summary, &body.summary),
            (Purpose::Record, &record),
        ] {
            let start = out.len();
            out.extend_from_slice(plain);
            key.seal(purpose, 0, &aad, &mut out, start);
        }
        append_check(&mut out);
        Ok(out)
    }

    /// Reads what needs no key.
    ///
    /// # Errors
    /// When the bytes are not those of a session end that this version can read.
    pub fn decode(object: &[u8]) -> Result<Self> {
        Ok(Parsed::of(object)?.end)
    }

    /// Reads of whom the first [`END_FIRST`] bytes are: vault, session, and the number of the data key
    /// of a commit. Who only sorts ends by their keys need not read them; the hash is not checked.
    ///
    /// # Errors
    /// When the bytes are not those of a session end that this version can read.
    pub fn decode_first(first: &[u8]) -> Result<(VaultId, SessionId, Option<u32>)> {
        let mut reader = Reader::new(first, END);
        reader.preamble(END_MAGIC, VERSION)?;
        let vault = VaultId::from_uuid(Uuid::from_bytes(reader.array()?));
        let session = SessionId::from_uuid(Uuid::from_bytes(reader.array()?));
        reader.i64()?;
        let number = match reader.u8()? {
            COMMITTED => Some(reader.u32()?),
            ABORTED => None,
            _ => return Err(Error::malformed(END)),
        };
        Ok((vault, session, number))
    }

    /// Reads a commit's summary.
    ///
    /// # Errors
    /// As for [`Self::decode`]; [`ErrorKind::Malformed`] when it is an abort.
    pub fn open_summary(object: &[u8], ring: &KeyRing) -> Result<(Self, Vec<u8>)> {
        let parsed = Parsed::of(object)?;
        let summary = parsed.open(Purpose::Summary, parsed.summary, ring)?;
        Ok((parsed.end, summary))
    }

    /// Reads a commit's record.
    ///
    /// # Errors
    /// As for [`Self::decode`]; [`ErrorKind::Malformed`] when it is an abort.
    pub fn open_record(object: &[u8], ring: &KeyRing) -> Result<(Self, Vec<u8>)> {
        let parsed = Parsed::of(object)?;
        let packed = parsed.open(Purpose::Record, parsed.record, ring)?;
        let mut record = vec![0; parsed.record_len];
        match zstd::bulk::decompress_to_buffer(&packed, &mut record) {
            Ok(len) if len == record.len() => Ok((parsed.end, record)),
            _ => Err(Error::malformed(END)),
        }
    }
}

/// A session end cut into its parts.
struct Parsed<'a> {
    end: SessionEnd,
    public: &'a [u8],
    summary: &'a [u8],
    record: &'a [u8],
    record_len: usize,
}

impl<'a> Parsed<'a> {
    fn of(object: &'a [u8]) -> Result<Self> {
        let body = checked(object, END_MAGIC, VERSION, END)?;
        let mut reader = Reader::new(body, END);
        reader.preamble(END_MAGIC, VERSION)?;
        let vault = VaultId::from_uuid(Uuid::from_bytes(reader.array()?));
        let session = SessionId::from_uuid(Uuid::from_bytes(reader.array()?));
        let ended_ms = reader.i64()?;
        let outcome = match reader.u8()? {
            COMMITTED => Outcome::Committed(read_commit(&mut reader)?),
            ABORTED => Outcome::Aborted,
            _ => return Err(Error::malformed(END)),
        };
        let end = SessionEnd {
            vault,
            session,
            ended_ms,
            outcome,
        };
        let mut parsed = Self {
            end,
            public: body,
            summary: &[],
            record: &[],
            record_len: 0,
        };
        if matches!(parsed.end.outcome, Outcome::Committed(_)) {
            let summary_len = reader.len32(SUMMARY_LIMIT + TAG_LEN)?;
            let packed_len = reader.len32(2 * RECORD_LIMIT)?;
            parsed.record_len = reader.len32(RECORD_LIMIT)?;
            parsed.public = &body[..body.len() - reader.remaining()];
            parsed.summary = reader.take(summary_len)?;
            parsed.record = reader.take(packed_len)?;
        }
        reader.finish()?;
        Ok(parsed)
    }

    fn open(&self, purpose: Purpose, sealed: &[u8], ring: &KeyRing) -> Result<Vec<u8>> {
        let Outcome::Committed(commit) = &self.end.outcome else {
            return Err(Error::malformed(END));
        };
        let key = ring.end_key(commit.epoch, self.end.session, &commit.salt)?;
        let mut plain = sealed.to_vec();
        let len = key.open(purpose, 0, self.public, &mut plain, END)?.len();
        plain.truncate(len);
        Ok(plain)
    }
}

fn read_commit(reader: &mut Reader<'_>) -> Result<Commit> {
    let epoch = reader.u32()?;
    let salt = reader.array()?;
    let index_runs = reader.u32()?;
    let count = reader.len32(TREE_PACKS)?;
    let mut tree_packs = Vec::with_capacity(count.min(reader.remaining() / 20));
    for _ in 0..count {
        tree_packs.push((PackId(reader.array()?), len_u32(reader.len32(PACK_LIMIT)?)));
    }
    Ok(Commit {
        epoch,
        salt,
        index_runs,
        tree_packs,
    })
}
