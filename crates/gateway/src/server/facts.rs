//! What the gateway knows of a vault's objects, so that a list does not read them each time. Objects
//! are written once and their names are never used again, so what was found out stays true.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tresor_backend::{Backend, Error, ErrorKind, ObjectName};
use tresor_model::{SessionId, VaultId};
use tresor_vault_format::limits::SMALL_OBJECT;
use tresor_vault_format::{
    DomainId, END_FIRST, INDEX_FIXED, IndexHeader, KeySlot, SessionEnd, name,
};
use uuid::Uuid;

use super::{Asked, Sessions};
use crate::rules::{Kind, Needs};

/// Most facts that are kept, of each kind: some 30 MB. Then it begins anew.
const KEPT: usize = 1 << 18;
/// Objects that are looked into at once.
const AT_ONCE: usize = 16;

/// Tells the domain of a data key's number. The service has the vault's own ring, which has all of
/// them; when a number is not known, it opens the ring again before it says so.
#[async_trait]
pub trait KeyNumbers: Send + Sync {
    /// The domain; `None` when no ring has the number.
    async fn domain_of(&self, number: u32) -> Asked<Option<DomainId>>;
}

/// A vault, as all hosts' gateways share it.
pub struct VaultSide {
    pub(super) id: VaultId,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) sessions: Arc<dyn Sessions>,
    numbers: Arc<dyn KeyNumbers>,
    /// One question at a time: who asks for numbers that nobody has makes the ring be read again.
    asking: tokio::sync::Mutex<()>,
    domains: Kept<u32, DomainId>,
    firsts: Kept<Key, First>,
}

/// Objects whose first bytes tell whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Slot(Uuid),
    Run(SessionId, u32),
    End(SessionId),
}

/// What their first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    Ring(Uuid),
    Number(u32),
    Aborted,
}

impl Key {
    /// What has to be looked into for an object, if anything.
    pub(super) fn of(kind: &Kind) -> Option<Self> {
        match (kind, kind.needs()) {
            (Kind::Slot(slot), _) => Some(Self::Slot(*slot)),
            (Kind::Run(session, number), _) => Some(Self::Run(*session, *number)),
            (_, Needs::Session(session)) => Some(Self::End(session)),
            _ => None,
        }
    }
}

struct Kept<K, V>(Mutex<HashMap<K, V>>);

impl<K: Eq + Hash, V: Copy> Kept<K, V> {
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn get(&self, key: &K) -> Option<V> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).copied()
    }

    fn keep(&self, key: K, value: V) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, value);
    }
}

impl VaultSide {
    /// A vault, what keeps it, and who knows its keys and sessions.
    #[must_use]
    pub fn new(
        id: VaultId,
        backend: Arc<dyn Backend>,
        numbers: Arc<dyn KeyNumbers>,
        sessions: Arc<dyn Sessions>,
    ) -> Self {
        Self {
            id,
            backend,
            sessions,
            numbers,
            asking: tokio::sync::Mutex::new(()),
            domains: Kept::new(),
            firsts: Kept::new(),
        }
    }

    /// The domains of numbers; those that nobody knows are left out.
    pub(super) async fn domains(
        &self,
        numbers: BTreeSet<u32>,
    ) -> Result<HashMap<u32, DomainId>, Error> {
        let mut domains = HashMap::new();
        for number in numbers {
            let mut domain = self.domains.get(&number);
            if domain.is_none() {
                let _one = self.asking.lock().await;
                let asked = self.numbers.domain_of(number).await;
                domain = asked.map_err(|error| unanswered("the keys", error))?;
                if let Some(domain) = domain {
                    self.domains.keep(number, domain);
                }
            }
            domains.extend(domain.map(|domain| (number, domain)));
        }
        Ok(domains)
    }

    /// What objects' first bytes say; those that are not there, or that nobody can read, are left out.
    pub(super) async fn firsts(&self, keys: BTreeSet<Key>) -> Result<HashMap<Key, First>, Error> {
        let reads: Vec<_> = keys.into_iter().map(|key| self.first(key)).collect();
        let read = stream::iter(reads).buffer_unordered(AT_ONCE);
        read.try_filter_map(async |found| Ok(found))
            .try_collect()
            .await
    }

    async fn first(&self, key: Key) -> Result<Option<(Key, First)>, Error> {
        if let Some(first) = self.firsts.get(&key) {
            return Ok(Some((key, first)));
        }
        let object = match key {
            Key::Slot(slot) => name::key_slot(slot),
            Key::Run(session, number) => name::index_run(session, number),
            Key::End(session) => name::session_end(session),
        };
        let object = ObjectName::new(object)
            .map_err(|error| Error::new(ErrorKind::Io, "get", "").because(error))?;
        let read = match key {
            Key::Slot(_) => self.backend.get(&object, SMALL_OBJECT as u64).await,
            Key::Run(..) => self.backend.get_range(&object, 0..INDEX_FIXED as u64).await,
            Key::End(_) => self.backend.get_range(&object, 0..END_FIRST as u64).await,
        };
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) if is_no_such(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let first = decode(key, &bytes, self.id);
        if let Some(first) = first {
            self.firsts.keep(key, first);
        }
        Ok(first.map(|first| (key, first)))
    }
}

/// Not there, or too short or too long to be one.
fn is_no_such(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::BadRange)
}

/// `None` for what nobody can read, or that lies under another's name.
fn decode(key: Key, bytes: &[u8], vault: VaultId) -> Option<First> {
    match key {
        Key::Slot(named) => {
            let slot = KeySlot::decode(bytes).ok()?;
            (slot.vault == vault && slot.slot == named).then_some(First::Ring(slot.ring))
        }
        Key::Run(named, nth) => {
            let (of, session, run, number) = IndexHeader::decode_first(bytes).ok()?;
            let is_it = of == vault && session == named && run == nth;
            is_it.then_some(First::Number(number))
        }
        Key::End(named) => {
            let (of, session, number) = SessionEnd::decode_first(bytes).ok()?;
            let first = number.map_or(First::Aborted, First::Number);
            (of == vault && session == named).then_some(first)
        }
    }
}

pub(super) fn unanswered(
    what: &'static str,
    error: Box<dyn std::error::Error + Send + Sync>,
) -> Error {
    Error::new(ErrorKind::Unavailable, "ask for", what).because(error)
}
