//! What a host may do with a vault: finds out what the rules have to know, and asks them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tresor_backend::{Backend as _, Error, ErrorKind, ObjectMeta, ObjectName};
use tresor_model::{SessionId, VaultId};
use tresor_vault_format::{DomainId, name};

use super::facts::{First, Key, VaultSide, unanswered};
use super::{Asked, Stop};
use crate::rules::{self, Facts, Kind, Needs, Refusal, Tenant, Why};

/// Decides what a host may do with the objects of a vault.
#[async_trait]
pub trait Access: Send + Sync {
    /// Whether it may read an object.
    ///
    /// # Errors
    /// When it may not, or that cannot be found out.
    async fn read(&self, name: &ObjectName) -> Result<(), Stop>;

    /// What it sees of a list.
    ///
    /// # Errors
    /// When that cannot be found out.
    async fn show(&self, listed: Vec<ObjectMeta>) -> Result<Vec<ObjectMeta>, Stop>;

    /// Whether it may put an object of that name and size, whatever is in it.
    ///
    /// # Errors
    /// When it may not, or that cannot be found out.
    async fn admit(&self, name: &ObjectName, size: u64) -> Result<(), Stop>;

    /// Whether it may put this object: asked when all of it is there, right before it is put.
    ///
    /// # Errors
    /// When it may not, or that cannot be found out.
    async fn check(&self, name: &ObjectName, body: &Bytes) -> Result<(), Stop>;
}

/// Who began which session: durable, and kept by whoever runs the gateway. A begin says of itself
/// neither host nor key, so nothing else can tell whose session an end may end. A session that is not
/// known is nobody's: no host can end it, and a host sees it only by a commit in its domain.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// The hosts that began sessions, in the order of these.
    async fn owners(&self, vault: VaultId, of: &[SessionId]) -> Asked<Vec<Option<String>>>;

    /// Notes that a host begins a session, unless one has. Says whether it is that host's.
    async fn claim(&self, vault: VaultId, session: SessionId, host: &str) -> Asked<bool>;
}

/// Sessions in memory, for tests and trials: forgotten with the process.
#[derive(Debug, Default)]
pub struct MemorySessions(Mutex<HashMap<(VaultId, SessionId), String>>);

#[async_trait]
impl Sessions for MemorySessions {
    async fn owners(&self, vault: VaultId, of: &[SessionId]) -> Asked<Vec<Option<String>>> {
        let owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = |session: &SessionId| owners.get(&(vault, *session)).cloned();
        Ok(of.iter().map(owner).collect())
    }

    async fn claim(&self, vault: VaultId, session: SessionId, host: &str) -> Asked<bool> {
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = owners.entry((vault, session));
        Ok(owner.or_insert_with(|| host.to_owned()) == host)
    }
}

/// The access of a host that has a ring and a domain of its own.
pub struct HostAccess {
    vault: Arc<VaultSide>,
    host: String,
    tenant: Tenant,
}

/// What was found out of some objects.
#[derive(Default)]
struct Known {
    firsts: HashMap<Key, First>,
    domains: HashMap<u32, DomainId>,
    begun: HashSet<SessionId>,
}

impl Known {
    fn domain(&self, key: Key) -> Option<DomainId> {
        match self.firsts.get(&key)? {
            First::Number(number) => self.domains.get(number).copied(),
            First::Ring(_) | First::Aborted => None,
        }
    }

    fn facts(&self, kind: &Kind) -> Facts {
        let key = Key::of(kind);
        let mut facts = Facts {
            domain: key.and_then(|key| self.domain(key)),
            ..Facts::default()
        };
        match kind.needs() {
            Needs::Number(number) => facts.domain = self.domains.get(&number).copied(),
            Needs::Session(session) => facts.begun = self.begun.contains(&session),
            Needs::FirstBytes | Needs::Nothing => {}
        }
        if let Some(First::Ring(ring)) = key.and_then(|key| self.firsts.get(&key)) {
            facts.ring = Some(*ring);
        }
        facts
    }
}

impl HostAccess {
    /// The access of `host`, by the name under which it begins sessions.
    #[must_use]
    pub fn new(vault: Arc<VaultSide>, host: &str, tenant: Tenant) -> Self {
        Self {
            vault,
            host: host.to_owned(),
            tenant,
        }
    }

    async fn learn(&self, kinds: &[Kind]) -> Result<Known, Error> {
        let keys: BTreeSet<Key> = kinds.iter().filter_map(Key::of).collect();
        let firsts = self.vault.firsts(keys).await?;
        let by_name = kinds.iter().filter_map(|kind| match kind.needs() {
            Needs::Number(number) => Some(number),
            _ => None,
        });
        let by_bytes = firsts.values().filter_map(|first| match first {
            First::Number(number) => Some(*number),
            _ => None,
        });
        let domains = self
            .vault
            .domains(by_name.chain(by_bytes).collect())
            .await?;
        let mut known = Known {
            firsts,
            domains,
            begun: HashSet::new(),
        };
        // Only of those whose end does not tell: sessions that run, and those that were aborted.
        let sessions = kinds.iter().filter_map(|kind| match kind.needs() {
            Needs::Session(session) => Some(session),
            _ => None,
        });
        let open = sessions.filter(|session| known.domain(Key::End(*session)).is_none());
        let open: BTreeSet<SessionId> = open.collect();
        known.begun = self.begun(open.into_iter().collect()).await?;
        Ok(known)
    }

    async fn owners(&self, sessions: &[SessionId]) -> Result<Vec<Option<String>>, Error> {
        if sessions.is_empty() {
            return Ok(Vec::new());
        }
        let owners = self.vault.sessions.owners(self.vault.id, sessions).await;
        owners.map_err(|error| unanswered("sessions", error))
    }

    /// Those of the sessions that this host began.
    async fn begun(&self, sessions: Vec<SessionId>) -> Result<HashSet<SessionId>, Error> {
        let owners = self.owners(&sessions).await?;
        let owned = sessions.into_iter().zip(owners);
        let own = owned.filter(|(_, owner)| owner.as_ref() == Some(&self.host));
        Ok(own.map(|(session, _)| session).collect())
    }

    /// Whether a session may be this host's: it began it, or, where it is to be begun, nobody did.
    async fn may_begin(&self, session: SessionId) -> Result<bool, Error> {
        let owner = self.owners(&[session]).await?.pop().flatten();
        Ok(owner.is_none_or(|owner| owner == self.host))
    }

    async fn is_there(&self, name: &str) -> Result<bool, Error> {
        let object = ObjectName::new(name)
            .map_err(|error| Error::new(ErrorKind::Io, "stat", name).because(error))?;
        match self.vault.backend.stat(&object).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Before the begin is put, so that there is never one whose host is not known. One that is there
    /// was begun by somebody else, or by an earlier try: the put will tell.
    async fn claim(&self, session: SessionId) -> Result<(), Stop> {
        if self.is_there(&name::session_begin(session)).await? {
            return Ok(());
        }
        let (vault, host) = (self.vault.id, &self.host);
        let claimed = self.vault.sessions.claim(vault, session, host).await;
        match claimed.map_err(|error| unanswered("sessions", error))? {
            true => Ok(()),
            false => Err(Refusal::new(Why::OtherSession).into()),
        }
    }
}

#[async_trait]
impl Access for HostAccess {
    async fn read(&self, name: &ObjectName) -> Result<(), Stop> {
        let kind = Kind::of(name.as_str());
        let known = self.learn(&[kind]).await?;
        Ok(rules::may_read(&kind, &known.facts(&kind), &self.tenant)?)
    }

    async fn show(&self, listed: Vec<ObjectMeta>) -> Result<Vec<ObjectMeta>, Stop> {
        let kinds = listed.iter().map(|meta| Kind::of(meta.name.as_str()));
        let kinds: Vec<Kind> = kinds.collect();
        let known = self.learn(&kinds).await?;
        let seen = listed
            .into_iter()
            .zip(&kinds)
            .filter(|(_, kind)| rules::may_read(kind, &known.facts(kind), &self.tenant).is_ok());
        Ok(seen.map(|(meta, _)| meta).collect())
    }

    async fn admit(&self, name: &ObjectName, size: u64) -> Result<(), Stop> {
        let kind = Kind::of(name.as_str());
        let mut facts = Facts::default();
        match kind {
            Kind::Pack(pack) | Kind::Damage(pack) => {
                let domains = self.vault.domains([pack.epoch()].into()).await?;
                facts.domain = domains.get(&pack.epoch()).copied();
            }
            Kind::Run(session, _) | Kind::End(session) => {
                facts.begun = self.begun(vec![session]).await?.contains(&session);
            }
            Kind::Begin(session) => facts.begun = self.may_begin(session).await?,
            _ => {}
        }
        Ok(rules::may_put(&kind, size, &facts, &self.tenant)?)
    }

    async fn check(&self, name: &ObjectName, body: &Bytes) -> Result<(), Stop> {
        let kind = Kind::of(name.as_str());
        let (vault, object) = (self.vault.id, body.clone());
        // Hashing a pack takes milliseconds.
        let examined = tokio::task::spawn_blocking(move || rules::examine(&kind, &object, vault));
        let contents = examined.await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "examine", name.as_str()).because(error)
        })??;
        let found = self.vault.domains(contents.numbers.clone()).await?;
        let domains = contents.numbers.iter();
        let domains: Vec<_> = domains.map(|number| found.get(number).copied()).collect();
        if let Kind::Begin(session) = kind {
            return self.claim(session).await;
        }
        let begun = match contents.session {
            Some(session) => self.begun(vec![session]).await?.contains(&session),
            None => true,
        };
        rules::may_hold(&domains, begun, &self.tenant)?;
        if let Kind::End(session) = kind
            && !self.is_there(&name::session_begin(session)).await?
        {
            let gone = "it is over: its begin is not there";
            return Err(Refusal::saying(Why::OtherSession, gone).into());
        }
        Ok(())
    }
}
