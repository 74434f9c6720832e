//! The desk: the service's end, one for each host, whatever connections it has.

mod answer;
mod hosts;
mod jobs;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tresor_catalog::{Catalog, CatalogError, CatalogErrorKind};
use tresor_channel::{Connection, Failure, Reply};
use tresor_jobs::LogError;
use tresor_model::HostId;
use tresor_problem::{Kind, Problem};

use crate::rules::Why;
use crate::wire::{self, Malformed, Mark};

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
    pub host: HostId,
    /// The method, by the host's word.
    pub method: String,
    /// What it was about, by the host's word: a job, a VM, a lane.
    pub object: String,
    /// Why it was refused.
    pub why: Why,
}

/// What is kept for one host, and how long it is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls at once; more wait.
    pub calls: u16,
    /// Bytes of bodies under way, and of what is made of them. More wait.
    pub in_flight: u32,
    /// How long a host may send or take nothing in the middle of a body.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 32,
            in_flight: 32 << 20,
            stall: Duration::from_secs(60),
        }
    }
}

/// Why a call does not succeed.
#[derive(Debug)]
enum Stop {
    /// The host may not.
    Refused(Why, String),
    /// It is no request.
    Malformed(Malformed),
    /// The job log says so.
    Log(LogError, Option<Mark>),
    /// The rest.
    Problem(Box<Problem>),
    /// The host does not send what it has announced, or is gone.
    Broken,
}

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        Self::Log(error, None)
    }
}

impl From<Kind> for Stop {
    fn from(kind: Kind) -> Self {
        Self::Problem(Box::new(kind.into()))
    }
}

impl From<CatalogError> for Stop {
    fn from(error: CatalogError) -> Self {
        use CatalogErrorKind::{AlreadyExists, InUse, NotFound};
        if let NotFound(_) | AlreadyExists(_) | InUse(_) = error.kind {
            return Self::Problem(Box::new(Problem::from(&error)));
        }
        // Where the service keeps it is not the host's to know.
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a host's call failed"
        );
        Kind::ServiceUnreachable {
            server: wire::PLACE.to_owned(),
            reason: "its catalog cannot be used now".to_owned(),
        }
        .into()
    }
}

impl Stop {
    fn refused(why: Why, object: &impl ToString) -> Self {
        Self::Refused(why, object.to_string())
    }
}

/// Answers a host. Clones are the same one.
#[derive(Clone)]
pub struct Desk {
    inner: Arc<Inner>,
}

struct Inner {
    catalog: Arc<Catalog>,
    host: HostId,
    /// The host's own.
    lane: String,
    /// This program's version of Tresor.
    version: String,
    audit: Arc<dyn Audit>,
    limits: Limits,
    calls: Semaphore,
    /// In units of [`answer::UNIT`].
    room: Semaphore,
}

impl Desk {
    /// Answers `host`, which somebody has made sure of. `version` is the service's version of Tresor.
    #[must_use]
    pub fn new(
        catalog: Arc<Catalog>,
        host: HostId,
        version: &str,
        audit: Arc<dyn Audit>,
        limits: Limits,
    ) -> Self {
        let inner = Inner {
            catalog,
            host,
            lane: host.to_string(),
            version: version.to_owned(),
            audit,
            calls: Semaphore::new(usize::from(limits.calls.max(1))),
            room: Semaphore::new(answer::units(limits.in_flight) as usize),
            limits,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Whether a request is for a desk.
    #[must_use]
    pub fn handles(method: &str) -> bool {
        method.starts_with(wire::JOBS) || method.starts_with(wire::HOST)
    }

    /// Answers all requests of a connection, until there are no more.
    pub async fn serve(&self, connection: &Connection) {
        let answer = |request| {
            let desk = self.clone();
            async move { desk.handle(request).await }
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
                inner.tell(&method, "", Why::Malformed);
                return say(reply, &failure);
            }
        };
        let object = asked.job().map(|job| job.to_string()).unwrap_or_default();
        match inner.call(asked, body).await {
            Ok(answer) => inner.send(reply, &method, answer).await,
            Err(stop) => {
                if let Some(failure) = inner.stopped(&stop, &method, &object) {
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
    fn tell(&self, method: &str, object: &str, why: Why) {
        // Texts of the host's own making: not longer than is useful, and fit to be shown.
        let shown = |char: char| if char.is_control() { '?' } else { char };
        let cut = |text: &str| text.chars().take(200).map(shown).collect::<String>();
        self.audit.attempt(&Attempt {
            host: self.host,
            method: cut(method),
            object: cut(object),
            why,
        });
    }

    /// What the host is told, and the audit, where it may not. Nothing for who is gone.
    fn stopped(&self, stop: &Stop, method: &str, object: &str) -> Option<Failure> {
        match stop {
            Stop::Refused(why, object) => {
                self.tell(method, object, *why);
                Some(wire::refused(why.word(), why.text()))
            }
            Stop::Malformed(error) => {
                self.tell(method, object, Why::Malformed);
                Some(wire::refused(Why::Malformed.word(), &error.to_string()))
            }
            Stop::Log(error, mark) => {
                tracing::debug!(host = %self.host, method, error = error as &dyn std::error::Error, "a call failed");
                Some(wire::failure_of_log(error, *mark))
            }
            Stop::Problem(problem) => Some(wire::failure_of_problem(problem)),
            Stop::Broken => None,
        }
    }
}
