//! Plans of collect: what is to be deleted, and what became of it. Layout: docs/format/plan.md; why
//! it is safe: docs/format/commit-protocol.md.
//!
//! Nothing in them is secret: pack ids and session ids are names of objects.

use tresor_model::{SessionId, VaultId};
use uuid::Uuid;

use crate::codec::{Reader, append_check, checked, len_u32};
use crate::error::{Error, ErrorKind, Result};
use crate::id::PackId;
use crate::limits::{PACK_LIMIT, PLAN_ENTRIES, PLAN_LIMIT};

const CLAIM: ([u8; 8], &str) = (*b"TRESORPC", "plan claim");
const PLAN: ([u8; 8], &str) = (*b"TRESORPL", "plan");
const VERDICT: ([u8; 8], &str) = (*b"TRESORPV", "plan verdict");
const DONE: ([u8; 8], &str) = (*b"TRESORPD", "plan done");
const VERSION: u16 = 1;

/// `plans/<number>`: from now on the plan of this collector is in effect. Never deleted, so that a
/// number is given once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanClaim {
    /// The vault.
    pub vault: VaultId,
    /// Number of the plan, from 1.
    pub number: u32,
    /// Whose plan.
    pub collector: SessionId,
    /// Milliseconds since 1970, by the collector's clock. For people.
    pub made_ms: i64,
    /// BLAKE3 of the plan's object.
    pub plan: [u8; 32],
}

/// `plans/<number>-<collector>`: what is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The vault.
    pub vault: VaultId,
    /// Number of the plan.
    pub number: u32,
    /// Whose plan.
    pub collector: SessionId,
    /// Packs that will be deleted, in rising order.
    pub condemned: Vec<PackId>,
    /// Where the parts of packs that are gone or will be gone lie now, in rising order.
    pub moved: Vec<MovedTo>,
    /// Sessions whose points were looked through, in rising order: all that they need is kept.
    pub walked: Vec<SessionId>,
    /// Sessions that are nobody's any more: their objects will be deleted. In rising order.
    pub dropped: Vec<SessionId>,
}

/// Parts of a pack were copied into another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MovedTo {
    /// Where they were.
    pub from: PackId,
    /// Where (some of) them are.
    pub to: PackId,
    /// Size of that object in bytes.
    pub size: u32,
}

/// `plans/<number>.verdict`: which condemned packs stay after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanVerdict {
    /// The vault.
    pub vault: VaultId,
    /// Number of the plan.
    pub number: u32,
    /// A point needs what older plans say of moved parts: they stay.
    pub keep_older: bool,
    /// The packs that stay, in rising order.
    pub struck: Vec<PackId>,
}

/// `plans/<number>.done`: all of it has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanDone {
    /// The vault.
    pub vault: VaultId,
    /// Number of the plan.
    pub number: u32,
    /// Milliseconds since 1970, by the clock of whoever finished it. For people.
    pub done_ms: i64,
}

impl PlanClaim {
    /// The object's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = begin(CLAIM.0, self.vault, self.number);
        out.extend_from_slice(self.collector.as_uuid().as_bytes());
        out.extend_from_slice(&self.made_ms.to_le_bytes());
        out.extend_from_slice(&self.plan);
        append_check(&mut out);
        out
    }

    /// Reads the object's bytes.
    ///
    /// # Errors
    /// When they are not those of a claim that this version can read.
    pub fn decode(object: &[u8]) -> Result<Self> {
        let (mut reader, vault, number) = open(object, CLAIM)?;
        let claim = Self {
            vault,
            number,
            collector: session(&mut reader)?,
            made_ms: reader.i64()?,
            plan: reader.array()?,
        };
        reader.finish()?;
        Ok(claim)
    }
}

impl Plan {
    /// The object's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = begin(PLAN.0, self.vault, self.number);
        out.extend_from_slice(self.collector.as_uuid().as_bytes());
        for count in [
            self.condemned.len(),
            self.moved.len(),
            self.walked.len(),
            self.dropped.len(),
        ] {
            out.extend_from_slice(&len_u32(count).to_le_bytes());
        }
        for pack in &self.condemned {
            out.extend_from_slice(&pack.0);
        }
        for moved in &self.moved {
            out.extend_from_slice(&moved.from.0);
            out.extend_from_slice(&moved.to.0);
            out.extend_from_slice(&moved.size.to_le_bytes());
        }
        for session in self.walked.iter().chain(&self.dropped) {
            out.extend_from_slice(session.as_uuid().as_bytes());
        }
        append_check(&mut out);
        out
    }

    /// Whether its lists are within the format's limits.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.condemned.len() <= PLAN_ENTRIES
            && self.moved.len() <= PLAN_ENTRIES
            && self.walked.len() <= PLAN_ENTRIES
            && self.dropped.len() <= PLAN_ENTRIES
    }

    /// Reads the object's bytes.
    ///
    /// # Errors
    /// When they are not those of a plan that this version can read.
    pub fn decode(object: &[u8]) -> Result<Self> {
        let (mut reader, vault, number) = open(object, PLAN)?;
        let collector = session(&mut reader)?;
        let mut counts = [0; 4];
        for count in &mut counts {
            *count = reader.len32(PLAN_ENTRIES)?;
        }
        let [condemned, moved, walked, dropped] = counts;
        if reader.remaining() != 16 * (condemned + walked + dropped) + 36 * moved {
            return Err(Error::malformed(PLAN.1));
        }
        let plan = Self {
            vault,
            number,
            collector,
            condemned: packs(&mut reader, condemned)?,
            moved: (0..moved)
                .map(|_| moved_to(&mut reader))
                .collect::<Result<_>>()?,
            walked: sessions(&mut reader, walked)?,
            dropped: sessions(&mut reader, dropped)?,
        };
        reader.finish()?;
        let rising = rises(&plan.condemned)
            && rises(&plan.moved)
            && rises(&plan.walked)
            && rises(&plan.dropped);
        rising.then_some(plan).ok_or(Error::malformed(PLAN.1))
    }
}

impl PlanVerdict {
    /// The object's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = begin(VERDICT.0, self.vault, self.number);
        out.push(u8::from(self.keep_older));
        out.extend_from_slice(&len_u32(self.struck.len()).to_le_bytes());
        for pack in &self.struck {
            out.extend_from_slice(&pack.0);
        }
        append_check(&mut out);
        out
    }

    /// Reads the object's bytes.
    ///
    /// # Errors
    /// When they are not those of a verdict that this version can read.
    pub fn decode(object: &[u8]) -> Result<Self> {
        let (mut reader, vault, number) = open(object, VERDICT)?;
        let keep_older = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Error::malformed(VERDICT.1)),
        };
        let count = reader.len32(PLAN_ENTRIES)?;
        if reader.remaining() != 16 * count {
            return Err(Error::malformed(VERDICT.1));
        }
        let struck = packs(&mut reader, count)?;
        reader.finish()?;
        if !rises(&struck) {
            return Err(Error::malformed(VERDICT.1));
        }
        Ok(Self {
            vault,
            number,
            keep_older,
            struck,
        })
    }
}

impl PlanDone {
    /// The object's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = begin(DONE.0, self.vault, self.number);
        out.extend_from_slice(&self.done_ms.to_le_bytes());
        append_check(&mut out);
        out
    }

    /// Reads the object's bytes.
    ///
    /// # Errors
    /// When they are not those that this version can read.
    pub fn decode(object: &[u8]) -> Result<Self> {
        let (mut reader, vault, number) = open(object, DONE)?;
        let done_ms = reader.i64()?;
        reader.finish()?;
        Ok(Self {
            vault,
            number,
            done_ms,
        })
    }
}

fn begin(magic: [u8; 8], vault: VaultId, number: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(&magic);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(vault.as_uuid().as_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out
}

fn open<'a>(
    object: &'a [u8],
    (magic, part): ([u8; 8], &'static str),
) -> Result<(Reader<'a>, VaultId, u32)> {
    if object.len() > PLAN_LIMIT {
        return Err(Error::new(ErrorKind::TooLarge, part));
    }
    let body = checked(object, magic, VERSION, part)?;
    let mut reader = Reader::new(body, part);
    reader.preamble(magic, VERSION)?;
    let vault = VaultId::from_uuid(Uuid::from_bytes(reader.array()?));
    let number = reader.u32()?;
    Ok((reader, vault, number))
}

fn session(reader: &mut Reader<'_>) -> Result<SessionId> {
    Ok(SessionId::from_uuid(Uuid::from_bytes(reader.array()?)))
}

/// `count` was compared with what is there.
fn sessions(reader: &mut Reader<'_>, count: usize) -> Result<Vec<SessionId>> {
    (0..count).map(|_| session(reader)).collect()
}

fn packs(reader: &mut Reader<'_>, count: usize) -> Result<Vec<PackId>> {
    (0..count).map(|_| Ok(PackId(reader.array()?))).collect()
}

fn moved_to(reader: &mut Reader<'_>) -> Result<MovedTo> {
    Ok(MovedTo {
        from: PackId(reader.array()?),
        to: PackId(reader.array()?),
        size: len_u32(reader.len32(PACK_LIMIT)?),
    })
}

fn rises<T: Ord>(list: &[T]) -> bool {
    list.is_sorted_by(|a, b| a < b)
}
