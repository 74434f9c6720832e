//! What an object of a vault says without a key, and whether the others are as it says.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tresor_backend::ObjectMeta;
use tresor_model::{PointId, SessionId, VaultId};
use tresor_vault_format::limits::{END_LIMIT, INDEX_LIMIT, PLAN_LIMIT, SMALL_OBJECT};
use tresor_vault_format::name::{PlanObject, SessionObject};
use tresor_vault_format::{
    DamageMark, ExpiryMark, IndexHeader, KeyRing, KeySlot, Outcome, Plan, PlanClaim, PlanDone,
    PlanVerdict, PointState, SessionBegin, SessionEnd, VaultHeader, VaultLock, name,
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
    /// Objects that others speak of.
    expected: BTreeMap<String, Expected>,
    /// The points that tree packs were written for.
    trees: BTreeMap<String, PointId>,
    /// Collect has been here: what end objects say may be history, and what was listed may be gone.
    collected: bool,
    /// The newest claim of a plan, and whether that plan is done.
    newest_claim: Option<PlanClaim>,
    done: BTreeSet<u32>,
    /// Objects that plans which are there delete.
    condemned: BTreeSet<String>,
    committed: BTreeSet<SessionId>,
}

/// What is said of an object.
struct Expected {
    size: Option<u64>,
    by: String,
    /// It was so when the session ended; collect may have replaced it.
    history: bool,
    /// Only these sessions' index runs say so.
    runs: Vec<SessionId>,
}

impl Check {
    /// Of what is listed nothing was read.
    pub(super) fn of(listed: &[ObjectMeta]) -> Self {
        let is_claim = |meta: &ObjectMeta| {
            let object = name::parse_plan_object(meta.name.as_str());
            matches!(object, Some(PlanObject::Claim(_)))
        };
        Self {
            collected: listed.iter().any(is_claim),
            ..Self::default()
        }
    }

    pub(super) fn count(&mut self, bytes: u64) {
        self.report.objects += 1;
        self.report.bytes += bytes;
    }

    /// Takes damage into the report; gives back any other error.
    pub(super) fn note(&mut self, object: &str, error: &Error) -> Result<()> {
        if error.is_gone() && self.collected {
            return Ok(()); // deleted since it was listed
        }
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
        let expected = Expected {
            size,
            by: by.to_owned(),
            history: false,
            runs: Vec::new(),
        };
        self.expected.insert(object, expected);
    }

    fn expect_by_run(&mut self, object: String, size: u64, by: &str, session: SessionId) {
        let expected = self.expected.entry(object).or_insert_with(|| Expected {
            size: None,
            by: by.to_owned(),
            history: false,
            runs: Vec::new(),
        });
        expected.size = Some(size);
        expected.runs.push(session);
    }

    /// A writer that was ended by somebody else goes on for a while, and may put an index run over
    /// packs of its that collect has deleted.
    fn may_have_slept(&self, runs: &[SessionId]) -> bool {
        let slept = |session: &SessionId| {
            // Version 8: a collector's.
            session.as_uuid().get_version_num() != 8 && !self.committed.contains(session)
        };
        !runs.is_empty() && runs.iter().all(slept)
    }

    fn expect_unless_collected(&mut self, object: String, size: Option<u64>, by: &str) {
        let expected = Expected {
            size,
            by: by.to_owned(),
            history: true,
            runs: Vec::new(),
        };
        self.expected.entry(object).or_insert(expected);
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
                    let (name, size) = (name::pack(&pack.id), u64::from(pack.size));
                    self.expect_by_run(name, size, object, header.session);
                }
                (name::index_run(header.session, header.number), header.vault)
            }
            Kind::Plan(of) => self.decode_plan(of, bytes).map_err(wrong)?,
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
            self.committed.insert(end.session);
            self.expect(name::session_begin(end.session), None, object);
            for number in 0..commit.index_runs {
                let run = name::index_run(end.session, number);
                self.expect_unless_collected(run, None, object);
            }
            for (id, size) in &commit.tree_packs {
                self.trees.insert(name::pack(id), end.session.into());
                self.expect_unless_collected(name::pack(id), Some(u64::from(*size)), object);
            }
        }
    }

    fn decode_plan(
        &mut self,
        of: PlanObject,
        bytes: &[u8],
    ) -> tresor_vault_format::Result<(String, VaultId)> {
        Ok(match of {
            PlanObject::Claim(_) => {
                let claim = PlanClaim::decode(bytes)?;
                if self
                    .newest_claim
                    .is_none_or(|newest| newest.number < claim.number)
                {
                    self.newest_claim = Some(claim);
                }
                (name::plan_claim(claim.number), claim.vault)
            }
            PlanObject::Plan(..) => {
                let plan = Plan::decode(bytes)?;
                self.condemned.extend(plan.condemned.iter().map(name::pack));
                let sessions = plan.dropped.iter().copied();
                self.condemned.extend(sessions.map(name::session_begin));
                (name::plan(plan.number, plan.collector), plan.vault)
            }
            PlanObject::Verdict(_) => {
                let verdict = PlanVerdict::decode(bytes)?;
                (name::plan_verdict(verdict.number), verdict.vault)
            }
            PlanObject::Done(_) => {
                let done = PlanDone::decode(bytes)?;
                self.done.insert(done.number);
                (name::plan_done(done.number), done.vault)
            }
        })
    }

    /// Compares what objects say of each other with what is there.
    pub(super) fn cross_check(&mut self, listed: &[ObjectMeta]) {
        let sizes: BTreeMap<&str, u64> = listed
            .iter()
            .map(|meta| (meta.name.as_str(), meta.size))
            .collect();
        if let Some(claim) = self
            .newest_claim
            .filter(|claim| !self.done.contains(&claim.number))
        {
            let by = name::plan_claim(claim.number);
            self.expect(name::plan(claim.number, claim.collector), None, &by);
        }
        for (object, expected) in std::mem::take(&mut self.expected) {
            let Expected {
                size,
                by,
                history,
                runs,
            } = expected;
            let may_be_gone = (self.collected && (history || self.may_have_slept(&runs)))
                || self.condemned.contains(&object);
            match (sizes.get(object.as_str()), size) {
                (None, _) if may_be_gone => {}
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
    Plan(PlanObject),
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
            _ => match (
                name::parse_session_object(object),
                name::parse_plan_object(object),
            ) {
                (Some(SessionObject::Begin(_)), _) => Some(Self::Begin),
                (Some(SessionObject::End(_)), _) => Some(Self::End),
                (None, plan) => plan.map(Self::Plan),
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
            Self::Plan(_) => PLAN_LIMIT,
        }
    }
}
