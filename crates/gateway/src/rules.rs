//! What a host may do. Pure: whoever asks finds out first what an answer needs to know.
//!
//! A host has a ring of its own with one domain (docs/format/keys.md), and begins sessions under its
//! own name. The table of reasons is docs/protocol/gateway.md; `rules/tests.rs` is the same table.

use std::fmt;

use tresor_model::SessionId;
use tresor_vault_format::name::{self, PlanObject, SessionObject};
use tresor_vault_format::{DomainId, PackId, limits};
use uuid::Uuid;

mod object;
#[cfg(test)]
mod tests;

pub use object::{Contents, examine};

/// Whose calls these are, as far as keys tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenant {
    /// The host's ring.
    pub ring: Uuid,
    /// Its domain.
    pub domain: DomainId,
}

/// What an object is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is a kind of docs/format/README.md")]
pub enum Kind {
    Header,
    Slot(Uuid),
    Ring(Uuid),
    Pack(PackId),
    Run(SessionId, u32),
    Begin(SessionId),
    End(SessionId),
    Plan(PlanObject),
    Expired(SessionId),
    State(SessionId),
    Lock,
    Damage(PackId),
    /// Something below `plans/` that this program does not know.
    StrangePlan,
    /// No object of a vault.
    Other,
}

impl Kind {
    /// Reads a name. Each kind has one form of it.
    #[must_use]
    pub fn of(object: &str) -> Self {
        if object == name::VAULT {
            return Self::Header;
        }
        let session = name::parse_session_object(object).map(|found| match found {
            SessionObject::Begin(session) => Self::Begin(session),
            SessionObject::End(session) => Self::End(session),
        });
        let damage = name::parse_damaged(object).filter(|pack| name::damaged(pack) == object);
        let strange = object.starts_with(name::PLANS).then_some(Self::StrangePlan);
        name::parse_pack(object)
            .map(Self::Pack)
            .or(session)
            .or_else(|| name::parse_index_run(object).map(|(session, nth)| Self::Run(session, nth)))
            .or_else(|| name::parse_key_slot(object).map(Self::Slot))
            .or_else(|| name::parse_key_ring(object).map(|(ring, _)| Self::Ring(ring)))
            .or_else(|| name::parse_plan_object(object).map(Self::Plan))
            .or_else(|| name::parse_expired(object).map(Self::Expired))
            .or_else(|| name::parse_state(object).map(|(session, _)| Self::State(session)))
            .or_else(|| name::parse_lock(object).map(|_| Self::Lock))
            .or_else(|| damage.map(Self::Damage))
            .or(strange)
            .unwrap_or(Self::Other)
    }

    /// What has to be known of such an object before anybody can say who may read it.
    #[must_use]
    pub fn needs(&self) -> Needs {
        match self {
            Self::Pack(pack) | Self::Damage(pack) => Needs::Number(pack.epoch()),
            Self::Slot(_) | Self::Run(..) => Needs::FirstBytes,
            Self::Begin(session)
            | Self::End(session)
            | Self::Expired(session)
            | Self::State(session) => Needs::Session(*session),
            Self::Header
            | Self::Ring(_)
            | Self::Plan(_)
            | Self::Lock
            | Self::StrangePlan
            | Self::Other => Needs::Nothing,
        }
    }

    /// Most bytes of an object of the kind.
    #[must_use]
    pub fn largest(&self) -> u64 {
        let limit = match self {
            Self::Pack(_) => limits::PACK_LIMIT,
            Self::Run(..) => limits::INDEX_LIMIT,
            Self::End(_) => limits::END_LIMIT,
            Self::Plan(_) | Self::StrangePlan => limits::PLAN_LIMIT,
            _ => limits::SMALL_OBJECT,
        };
        limit as u64
    }
}

/// What an answer has to know beyond the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// No more.
    Nothing,
    /// To which domain a data key's number belongs.
    Number(u32),
    /// What the first bytes of the object say: a run's number, a slot's ring.
    FirstBytes,
    /// Who began a session, and to which domain the number in its end belongs.
    Session(SessionId),
}

/// What was found out. Nothing is known of what is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// The domain of the number in the object, or in the end of its session.
    pub domain: Option<DomainId>,
    /// The ring whose key is in the slot.
    pub ring: Option<Uuid>,
    /// Whether the host began the session.
    pub begun: bool,
}

/// Why something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It deletes, replaces, or changes what is there.
    Destroys,
    /// Another host's, or nobody's that is known.
    OtherDomain,
    /// A session that this host did not begin.
    OtherSession,
    /// A kind of object that hosts do not read.
    NotRead,
    /// A kind of object that hosts do not write.
    NotWritten,
    /// It is not what its name says, or damaged.
    Content,
    /// Larger than objects of its kind may be.
    TooLarge,
    /// A vault that the host has nothing to do with.
    Vault,
    /// No name of an object, or more than may be asked for.
    Malformed,
}

impl Why {
    /// As it travels in a failure.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Destroys => "destroys",
            Self::OtherDomain => "other-domain",
            Self::OtherSession => "other-session",
            Self::NotRead => "not-read",
            Self::NotWritten => "not-written",
            Self::Content => "content",
            Self::TooLarge => "too-large",
            Self::Vault => "vault",
            Self::Malformed => "malformed",
        }
    }
}

/// Something that a host may not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub why: Why,
    /// In words, where there is more to say.
    pub detail: String,
}

impl Refusal {
    /// Without more words.
    #[must_use]
    pub const fn new(why: Why) -> Self {
        let detail = String::new();
        Self { why, detail }
    }

    /// Says more.
    #[must_use]
    pub fn saying(why: Why, detail: impl fmt::Display) -> Self {
        let detail = detail.to_string();
        Self { why, detail }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            Why::Destroys => "nothing is deleted or replaced through the gateway",
            Why::OtherDomain => "it is of another domain than the host's",
            Why::OtherSession => "the host did not begin that session",
            Why::NotRead => "hosts do not read such objects",
            Why::NotWritten => "hosts do not write such objects",
            Why::Content => "the object is not what its name says",
            Why::TooLarge => "the object is larger than its kind may be",
            Why::Vault => "the host has no such vault",
            Why::Malformed => "it is no name of an object",
        })?;
        match self.detail.as_str() {
            "" => Ok(()),
            detail => write!(f, ": {detail}"),
        }
    }
}

impl std::error::Error for Refusal {}

type Verdict = Result<(), Refusal>;

fn allowed(holds: bool, why: Why) -> Verdict {
    if holds {
        Ok(())
    } else {
        Err(Refusal::new(why))
    }
}

/// Whether a host may see an object and read it.
///
/// # Errors
/// Why not.
pub fn may_read(kind: &Kind, facts: &Facts, tenant: &Tenant) -> Verdict {
    let own = facts.domain == Some(tenant.domain);
    match kind {
        Kind::Header | Kind::Plan(_) | Kind::StrangePlan | Kind::Lock => Ok(()),
        Kind::Ring(ring) => allowed(*ring == tenant.ring, Why::OtherDomain),
        Kind::Slot(_) => allowed(facts.ring == Some(tenant.ring), Why::OtherDomain),
        Kind::Pack(_) | Kind::Damage(_) | Kind::Run(..) => allowed(own, Why::OtherDomain),
        Kind::Begin(_) | Kind::End(_) | Kind::Expired(_) | Kind::State(_) => {
            allowed(own || facts.begun, Why::OtherSession)
        }
        Kind::Other => Err(Refusal::new(Why::NotRead)),
    }
}

/// Whether a host may put an object of a name and size; what is in it is asked next
/// ([`examine`], [`may_hold`]). Of a begin, `facts.begun` says that no other host has begun it.
///
/// # Errors
/// Why not.
pub fn may_put(kind: &Kind, size: u64, facts: &Facts, tenant: &Tenant) -> Verdict {
    match kind {
        Kind::Pack(_) | Kind::Damage(_) => {
            allowed(facts.domain == Some(tenant.domain), Why::OtherDomain)?;
        }
        Kind::Run(..) | Kind::Begin(_) | Kind::End(_) => allowed(facts.begun, Why::OtherSession)?,
        Kind::Header
        | Kind::Slot(_)
        | Kind::Ring(_)
        | Kind::Plan(_)
        | Kind::StrangePlan
        | Kind::Expired(_)
        | Kind::State(_)
        | Kind::Lock
        | Kind::Other => return Err(Refusal::new(Why::NotWritten)),
    }
    allowed(size <= kind.largest(), Why::TooLarge)
}

/// Whether all that an object says of keys and sessions is the host's: `domains` are those of the
/// numbers in it, `begun` whether the host began the session that it names.
///
/// # Errors
/// Why not.
pub fn may_hold(domains: &[Option<DomainId>], begun: bool, tenant: &Tenant) -> Verdict {
    let own = |domain: &Option<DomainId>| *domain == Some(tenant.domain);
    allowed(domains.iter().all(own), Why::OtherDomain)?;
    allowed(begun, Why::OtherSession)
}
