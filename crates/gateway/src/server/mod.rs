//! The gateway at the service: one for each host, whatever connections it has.
//!
//! # Order of a put
//! Name and size are judged, memory is set aside, the body is read to its end, the object is examined,
//! and then it is put. A body that is cut off has changed nothing.

mod access;
mod answer;
mod budget;
mod calls;
mod facts;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tresor_backend::{Backend, Error};
use tresor_channel::{Connection, Failure, Reply};
use tresor_model::VaultId;

use crate::rules::{Refusal, Why};
use crate::wire;

pub use access::{Access, HostAccess, MemorySessions, Sessions};
pub use budget::Budget;
pub use facts::{KeyNumbers, VaultSide};

/// What whoever runs the gateway is asked, and may fail to answer.
pub type Asked<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A vault that a host may use.
#[derive(Clone)]
pub struct Share {
    /// The vault.
    pub id: VaultId,
    /// What keeps it.
    pub backend: Arc<dyn Backend>,
    /// What the host may do.
    pub access: Arc<dyn Access>,
}

/// Is told of what a host tried and may not do. A host that is as it should be tries nothing of it.
/// Called from within a call: an audit that is slow holds up the host that is audited. A host can try
/// without end, so what keeps attempts bounds them.
pub trait Audit: Send + Sync {
    /// An attempt. It has been refused.
    fn attempt(&self, attempt: &Attempt);
}

/// Something that a host tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The host.
    pub host: String,
    /// The vault, by the host's word.
    pub vault: String,
    /// The method.
    pub method: String,
    /// The object or prefix, by the host's word.
    pub object: String,
    /// Why it was refused.
    pub why: Why,
}

/// What is kept for one host, and how long it is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls at once; more wait.
    pub calls: u16,
    /// Lists at once: the names of a whole vault are in memory for each.
    pub lists: u16,
    /// Bytes of objects under way, in both directions. No object may be larger.
    pub in_flight: u64,
    /// Objects that are made durable by one `settle`.
    pub settled: usize,
    /// How long a host may send or take nothing in the middle of a body.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 32,
            lists: 2,
            // The largest object, or eight packs of the usual size.
            in_flight: wire::OBJECT,
            settled: 10_000,
            stall: Duration::from_secs(60),
        }
    }
}

/// Why a call does not succeed.
#[derive(Debug)]
pub enum Stop {
    /// The host may not.
    Refused(Refusal),
    /// The store failed, or there is no such object.
    Failed(Error),
    /// The name is taken, by the same bytes or by others.
    Taken {
        /// Whether they are the same.
        same: bool,
    },
    /// The host does not send what it has announced, or is gone.
    Broken,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Answers a host. Clones are the same one.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    host: String,
    vaults: RwLock<BTreeMap<String, Share>>,
    audit: Arc<dyn Audit>,
    limits: Limits,
    calls: Semaphore,
    lists: Semaphore,
    budget: Budget,
}

impl Gateway {
    /// Answers `host`, which somebody has made sure of, about these vaults. `all` is the memory of
    /// all hosts together.
    #[must_use]
    pub fn new(
        host: &str,
        vaults: BTreeMap<String, Share>,
        audit: Arc<dyn Audit>,
        limits: Limits,
        all: &Budget,
    ) -> Self {
        let inner = Inner {
            host: host.to_owned(),
            vaults: RwLock::new(vaults),
            audit,
            calls: Semaphore::new(usize::from(limits.calls.max(1))),
            lists: Semaphore::new(usize::from(limits.lists.max(1))),
            budget: all.part(limits.in_flight),
            limits,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Lets the host use a vault by that name, or use it otherwise than until now. Calls under way go on
    /// as they began.
    pub fn share(&self, name: &str, share: Share) {
        let vaults = self.inner.vaults.write();
        let mut vaults = vaults.unwrap_or_else(PoisonError::into_inner);
        vaults.insert(name.to_owned(), share);
    }

    /// Whether a request is for a gateway.
    #[must_use]
    pub fn handles(method: &str) -> bool {
        method.starts_with(wire::PREFIX)
    }

    /// Answers all requests of a connection, until there are no more.
    pub async fn serve(&self, connection: &Connection) {
        let answer = |request| {
            let gateway = self.clone();
            async move { gateway.handle(request).await }
        };
        connection.serve(answer).await;
    }

    /// Answers a request. Whoever has other requests on the connection as well asks
    /// [`Self::handles`] first.
    pub async fn handle(&self, request: tresor_channel::Request) {
        let tresor_channel::Request {
            method,
            head,
            body,
            reply,
        } = request;
        let inner = &self.inner;
        let Ok(_place) = inner.calls.acquire().await else {
            return;
        };
        let asked = match wire::Request::decode(&method, &head) {
            Ok(asked) => asked,
            Err(failure) => {
                inner.tell(&method, "", "", Why::Malformed);
                return say(reply, &failure);
            }
        };
        let (vault, object) = (asked.vault().to_owned(), asked.object().to_owned());
        match inner.call(&method, asked, body).await {
            Ok(answer) => inner.send(reply, &method, &vault, answer).await,
            Err(stop) => {
                if let Some(failure) = inner.stopped(&stop, &method, &vault, &object) {
                    say(reply, &failure);
                }
            }
        }
    }
}

/// Whoever asked may be gone; then nobody waits for it.
fn say(reply: Reply, failure: &Failure) {
    reply.fail(failure).ok();
}

impl Inner {
    fn shared(&self, vault: &str) -> Option<Share> {
        let vaults = self.vaults.read().unwrap_or_else(PoisonError::into_inner);
        vaults.get(vault).cloned()
    }

    fn tell(&self, method: &str, vault: &str, object: &str, why: Why) {
        // Names of the host's own making: no longer than a name can be, and fit to be shown.
        let shown = |char: char| if char.is_control() { '?' } else { char };
        let cut = |text: &str| text.chars().take(200).map(shown).collect::<String>();
        self.audit.attempt(&Attempt {
            host: self.host.clone(),
            vault: cut(vault),
            method: cut(method),
            object: cut(object),
            why,
        });
    }

    /// What the host is told, and the audit, where it may not. Nothing for who is gone.
    fn stopped(&self, stop: &Stop, method: &str, vault: &str, object: &str) -> Option<Failure> {
        use tresor_backend::ErrorKind::{AlreadyExists, Refused};
        match stop {
            Stop::Refused(refusal) => {
                self.tell(method, vault, object, refusal.why);
                let mut failure = wire::failure_of(Refused, &refusal.to_string());
                let why = refusal.why.word().to_owned();
                failure.fields.insert("why".to_owned(), why);
                Some(failure)
            }
            Stop::Taken { same } => {
                if !same {
                    self.tell(method, vault, object, Why::Destroys);
                }
                let mut failure = wire::failure_of(AlreadyExists, "the name is taken");
                let same = if *same { "yes" } else { "no" };
                failure.fields.insert("same".to_owned(), same.to_owned());
                Some(failure)
            }
            Stop::Failed(error) => {
                // What lies below may tell where the service keeps its vaults.
                tracing::debug!(host = %self.host, method, error = error as &dyn std::error::Error, "a call failed");
                Some(wire::failure_of(error.kind(), &error.to_string()))
            }
            Stop::Broken => None,
        }
    }
}
