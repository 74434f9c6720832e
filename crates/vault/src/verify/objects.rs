//! What an object of a vault says without a key, and whether the others are as it says.

use std::collections::BTreeMap;

use bytes::Bytes;
use tresor_backend::ObjectMeta;
use tresor_model::{PointId, SessionId, VaultId};
use tresor_vault_format::limits::{END_LIMIT, INDEX_LIMIT, SMALL_OBJECT};
use tresor_vault_format::name::SessionObject;
use tresor_vault_format::{
    DamageMark, ExpiryMark, IndexHeader, KeyRing, KeySlot, Outcome, PointState, SessionBegin,
    SessionEnd, VaultHeader, VaultLock, name,
};

use crate::error::{Error, Result};

/// An object that is not as it was written, or not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedObject {
    /// Its name.
    pub object: String,
    /// In words.
    pub reason: String,
    /// The recovery point that it is a part of, where its end tells. Later points may use the same
    /// manifests: only who reads those can tell.
    pub point: Option<PointId>,
}

/// What the verification of all objects found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectsReport {
    /// Objects that were read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Damaged and missing ones.
    pub damaged: Vec<DamagedObject>,
    /// Objects that are none of a vault's. Harmless.
    pub foreign: Vec<String>,
    /// Sessions that have not ended: backups that run, or that died.
    pub open_sessions: Vec<SessionId>,
    /// Packs that are marked as damaged: found before, and not looked at again here.
    pub marked: Vec<String>,
}

/// The bytes of an object, or of its public part.
pub(super) struct Content {
    pub(super) bytes: Bytes,
    /// Size of the object.
    pub(super) size: u64,
}

impl Content {
    fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.size
    }

    fn index_header(&self) -> tresor_vault_format::Result<IndexHeader> {
        if self.is_whole() {
            Ok(IndexHeader::decode(&self.bytes)?.0)
        } else {
            IndexHeader::decode_public(&self.bytes, self.size)
        }
    }
}

/// What was read so far.
#[derive(Default)]
pub(super) struct Check {
    pub(super) report: ObjectsReport,
    /// Objects that others speak of: the size if it is known, and who says so.
    expected: BTreeMap<String, (Option<u64>, String)>,
    /// The points that tree packs were written for.
    trees: BTreeMap<String, PointId>,
}

impl Check {
    pub(super) fn count(&mut self, bytes: u64) {
        self.report.objects += 1;
        self.report.bytes += bytes;
    }

    /// Takes damage into the report; gives back any other error.
    pub(super) fn note(&mut self, object: &str, error: &Error) -> Result<()> {
        let (_, reason) = error.object_and_reason().ok_or_else(|| error.clone())?;
        self.damaged(object, reason);
        Ok(())
    }

    fn damaged(&mut self, object: &str, reason: String) {
        let point = match name::parse_session_object(object) {
            Some(SessionObject::End(session)) => Some(PointId::from(session)),
            _ => self.trees.get(object).copied(),
        };
        self.report.damaged.push(DamagedObject {
            object: object.to_owned(),
            reason,
            point,
        });
    }

    fn expect(&mut self, object: String, size: Option<u64>, by: &str) {
        self.expected.insert(object, (size, by.to_owned()));
    }

    /// Takes an object that was read, of a vault with this id if that is known; whether it is
    /// right.
    pub(super) fn take(
        &mut self,
        object: &str,
        kind: Kind,
        read: Result<Content>,
        vault: Option<VaultId>,
    ) -> Result<bool> {
        let of = read.and_then(|content| {
            self.count(content.bytes.len() as u64);
            self.decode(object, kind, &content)
        });
        match of {
            Ok(of) if vault.is_none_or(|vault| vault == of) => return Ok(true),
            Ok(_) => self.damaged(object, "it belongs to another vault".to_owned()),
            Err(error) => self.note(object, &error)?,
        }
        Ok(false)
    }

    /// Checks one object and notes what it says of others; gives the vault it belongs to.
    fn decode(&mut self, object: &str, kind: Kind, content: &Content) -> Result<VaultId> {
        let wrong = |error| Error::format(object, error);
        let bytes = &content.bytes;
        let (named, vault) = match kind {
            Kind::Vault => (
                name::VAULT.to_owned(),
                VaultHeader::decode(bytes).map_err(wrong)?.vault,
            ),
            Kind::Slot => {
                let slot = KeySlot::decode(bytes).map_err(wrong)?;
                self.expect(name::key_ring(slot.ring, 1), None, object);
                (name::key_slot(slot.slot), slot.vault)
            }
            Kind::Ring => {
                let ring = KeyRing::check(bytes).map_err(wrong)?;
                (name::key_ring(ring.ring, ring.generation), ring.vault)
            }
            Kind::Index => {
                let header = content.index_header().map_err(wrong)?;
                for pack in &header.packs {
                    self.expect(name::pack(&pack.id), Some(u64::from(pack.size)), object);
                }
                (name::index_run(header.session, header.number), header.vault)
            }
            Kind::Begin => {
                let begin = SessionBegin::decode(bytes).map_err(wrong)?;
                (name::session_begin(begin.session), begin.vault)
            }
            Kind::Expired => {
                let mark = ExpiryMark::decode(bytes).map_err(wrong)?;
                (name::expired(mark.session), mark.vault)
            }
            Kind::Damaged => {
                let mark = DamageMark::decode(bytes).map_err(wrong)?;
                (name::damaged(&mark.pack), mark.vault)
            }
            Kind::State => {
                let state = PointState::decode(bytes).map_err(wrong)?;
                if state.number > 1 {
                    let before = name::state(state.session, state.number - 1);
                    self.expect(before, None, object);
                }
                (name::state(state.session, state.number), state.vault)
            }
            Kind::Lock => {
                let lock = VaultLock::decode(bytes).map_err(wrong)?;
                (name::lock(lock.number), lock.vault)
            }
            Kind::End => {
                let end = SessionEnd::decode(bytes).map_err(wrong)?;
                self.expect_of_end(&end, object);
                (name::session_end(end.session), end.vault)
            }
        };
        if named == object {
            Ok(vault)
        } else {
            Err(Error::damaged(object, format!("it is {named}")))
        }
    }

    fn expect_of_end(&mut self, end: &SessionEnd, object: &str) {
        // A session may be aborted before its writer has begun it.
        if let Outcome::Committed(commit) = &end.outcome {
            self.expect(name::session_begin(end.session), None, object);
            for number in 0..commit.index_runs {
                self.expect(name::index_run(end.session, number), None, object);
            }
            for (id, size) in &commit.tree_packs {
                self.trees.insert(name::pack(id), end.session.into());
                self.expect(name::pack(id), Some(u64::from(*size)), object);
            }
        }
    }

    /// Compares what objects say of each other with what is there.
    pub(super) fn cross_check(&mut self, listed: &[ObjectMeta]) {
        let sizes: BTreeMap<&str, u64> = listed
            .iter()
            .map(|meta| (meta.name.as_str(), meta.size))
            .collect();
        for (object, (size, by)) in std::mem::take(&mut self.expected) {
            match (sizes.get(object.as_str()), size) {
                (None, _) => self.damaged(&object, format!("it is missing; {by} speaks of it")),
                (Some(found), Some(size)) if *found != size => {
                    self.damaged(&object, format!("it has {found} bytes instead of {size}"));
                }
                _ => {}
            }
        }
        if !sizes.keys().any(|object| object.starts_with(name::SLOTS)) {
            self.damaged(name::SLOTS, "there is no key slot left".to_owned());
        }
        for object in sizes.keys() {
            if let Some(SessionObject::Begin(session)) = name::parse_session_object(object)
                && !sizes.contains_key(name::session_end(session).as_str())
            {
                self.report.open_sessions.push(session);
            }
            if let Some(pack) = name::parse_damaged(object)
                && sizes.contains_key(name::pack(&pack).as_str())
            {
                self.report.marked.push(name::pack(&pack));
            }
        }
    }
}

/// What an object is, but a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Vault,
    Slot,
    Ring,
    Index,
    Begin,
    End,
    Expired,
    Damaged,
    State,
    Lock,
}

impl Kind {
    pub(super) fn of(object: &str) -> Option<Self> {
        match object {
            name::VAULT => Some(Self::Vault),
            _ if object.starts_with(name::SLOTS) => Some(Self::Slot),
            _ if object.starts_with(name::RINGS) => Some(Self::Ring),
            _ if name::parse_index_run(object).is_some() => Some(Self::Index),
            _ if name::parse_expired(object).is_some() => Some(Self::Expired),
            _ if name::parse_damaged(object).is_some() => Some(Self::Damaged),
            _ if name::parse_state(object).is_some() => Some(Self::State),
            _ if name::parse_lock(object).is_some() => Some(Self::Lock),
            _ => match name::parse_session_object(object)? {
                SessionObject::Begin(_) => Some(Self::Begin),
                SessionObject::End(_) => Some(Self::End),
            },
        }
    }

    pub(super) fn limit(self) -> usize {
        match self {
            Self::Vault
            | Self::Slot
            | Self::Ring
            | Self::Begin
            | Self::Expired
            | Self::Damaged
            | Self::State
            | Self::Lock => SMALL_OBJECT,
            Self::Index => INDEX_LIMIT,
            Self::End => END_LIMIT,
        }
    }
}
