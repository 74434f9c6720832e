//! Connections of hosts: from the handshake to the end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;
use tresor_catalog::Catalog;
use tresor_channel::{Connection, Failure, Notice, Options, Request, Role, codes, failures};
use tresor_front::{HostStream, Links};
use tresor_gateway::{Budget, Gateway};
use tresor_host_link::{Desk, wire::failure_of_problem};
use tresor_identity::{Authority, HostPeer};
use tresor_model::HostId;
use tresor_vault::KeyMaterial;

use super::{admission::CatalogRoll, attempts::Attempts, enrolment, renewal, vaults::Vaults};
use crate::wire;

/// Who enrols has one request, and as long for it.
const ENROLMENT: Duration = Duration::from_secs(60);
/// Hosts that enrol at once.
const ENROLMENTS: usize = 16;
/// Connections of one host at once: one, its next one, and some that have not ended yet.
const LINKS: usize = 8;

/// How hosts are served.
#[derive(Debug, Clone, Copy)]
pub struct LinkOptions {
    /// How often it is looked whether a host that is connected is still welcome.
    pub look_every: Duration,
    /// Memory for the objects of all hosts together, in bytes.
    pub memory: u64,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(10),
            memory: 1 << 30,
        }
    }
}

/// Serves hosts.
pub struct HostLinks {
    inner: Arc<Inner>,
}

struct Inner {
    catalog: Arc<Catalog>,
    authority: Arc<Authority>,
    roll: CatalogRoll,
    vaults: Vaults,
    hosts: Mutex<HashMap<HostId, Arc<Host>>>,
    budget: Budget,
    enrolments: Semaphore,
    options: LinkOptions,
}

/// What answers one host, whatever connections it has.
struct Host {
    gateway: Gateway,
    desk: Desk,
    links: Semaphore,
}

impl HostLinks {
    /// Serves the hosts that the catalog knows, with certificates of that authority.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, authority: Arc<Authority>, options: LinkOptions) -> Self {
        let inner = Inner {
            roll: CatalogRoll(Arc::clone(&catalog)),
            vaults: Vaults::new(Arc::clone(&catalog)),
            hosts: Mutex::default(),
            budget: Budget::new(options.memory),
            enrolments: Semaphore::new(ENROLMENTS),
            catalog,
            authority,
            options,
        };
        Self {
            inner: Arc::new(inner),
        }
    }
}

#[async_trait]
impl Links for HostLinks {
    async fn link(&self, stream: HostStream, peer: HostPeer, stop: CancellationToken) {
        let Some(connection) = open(stream).await else {
            return;
        };
        let inner = &self.inner;
        if let Err(error) = peer.admit(&inner.roll, Timestamp::now()).await {
            tracing::warn!(host = %peer.id, %error, "a host is not let in");
            let notice = Notice::new(codes::DISMISSED, error.to_string());
            return end(&connection, notice).await;
        }
        let host = inner.host(peer.id);
        let Ok(_place) = host.links.try_acquire() else {
            let notice = Notice::new(codes::REPLACED, "the host has too many connections");
            return end(&connection, notice).await;
        };
        tracing::info!(host = %peer.id, program = connection.peer().program, "a host is connected");
        let serving = connection.serve(|request| {
            let (inner, host, peer) = (Arc::clone(inner), Arc::clone(&host), peer.clone());
            async move { inner.answer(&host, &peer, request).await }
        });
        let notice = tokio::select! {
            () = serving => Notice::new(codes::SHUTDOWN, "nothing more comes"),
            notice = inner.until_over(&peer) => notice,
            () = stop.cancelled() => Notice::new(codes::SHUTDOWN, "the service ends"),
        };
        tracing::info!(host = %peer.id, why = notice.text, "a host's connection ends");
        end(&connection, notice).await;
    }

    async fn enrol(&self, stream: HostStream, stop: CancellationToken) {
        let inner = &self.inner;
        let Ok(_place) = inner.enrolments.try_acquire() else {
            return;
        };
        let enrolling = async {
            let connection = open(stream).await?;
            let request = connection.accept().await?;
            match request.method == wire::ENROL {
                true => {
                    let answered = match request.json::<wire::Enrol>() {
                        Ok(asked) => {
                            enrolment::enrol(&inner.catalog, &inner.authority, &asked).await
                        }
                        Err(failure) => Err(failure),
                    };
                    say(request, answered);
                }
                false => {
                    request.unknown().ok();
                }
            }
            end(
                &connection,
                Notice::new(codes::REPLACED, "with a certificate"),
            )
            .await;
            Some(())
        };
        tokio::select! {
            _ = timeout(ENROLMENT, enrolling) => {}
            () = stop.cancelled() => {}
        }
    }
}

impl Inner {
    fn host(&self, id: HostId) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts.entry(id).or_insert_with(|| {
            let audit = Arc::new(Attempts::new(Arc::clone(&self.catalog), id));
            let gateway = Gateway::new(
                &id.to_string(),
                std::collections::BTreeMap::new(),
                Arc::clone(&audit) as _,
                tresor_gateway::Limits::default(),
                &self.budget,
            );
            let desk = Desk::new(
                Arc::clone(&self.catalog),
                id,
                env!("CARGO_PKG_VERSION"),
                audit,
                tresor_host_link::Limits::default(),
            );
            Arc::new(Host {
                gateway,
                desk,
                links: Semaphore::new(LINKS),
            })
        });
        Arc::clone(host)
    }

    async fn answer(&self, host: &Host, peer: &HostPeer, request: Request) {
        match request.method.as_str() {
            method if Gateway::handles(method) => host.gateway.handle(request).await,
            method if Desk::handles(method) => host.desk.handle(request).await,
            wire::RENEW => {
                let answered = match request.json::<wire::Renew>() {
                    Ok(asked) => renewal::renew(&self.catalog, &self.authority, peer, &asked).await,
                    Err(failure) => Err(failure),
                };
                say(request, answered);
            }
            wire::ENTER => {
                let answered = match request.json::<wire::Enter>() {
                    Ok(asked) => self.enter(host, peer.id, &asked).await,
                    Err(failure) => Err(failure),
                };
                say(request, answered);
            }
            _ => {
                request.unknown().ok();
            }
        }
    }

    async fn enter(
        &self,
        host: &Host,
        id: HostId,
        asked: &wire::Enter,
    ) -> Result<wire::Entered, Failure> {
        let key = wire::decode("the key", &asked.key)?;
        if !wire::KEY.contains(&key.len()) {
            let why = "the key is too short or too long";
            return Err(Failure::new(failures::HEAD_MALFORMED, why));
        }
        let share = self
            .vaults
            .share(id, &asked.vault, KeyMaterial::KeyFile(key));
        let share = share.await.map_err(|problem| {
            tracing::warn!(host = %id, vault = asked.vault, %problem, "a host gets no vault");
            failure_of_problem(&problem)
        })?;
        let entered = wire::Entered { id: share.id };
        host.gateway.share(&asked.vault, share);
        Ok(entered)
    }

    /// Waits until the host is not welcome any more, or its certificate ends.
    async fn until_over(&self, peer: &HostPeer) -> Notice {
        loop {
            tokio::time::sleep(self.options.look_every).await;
            match peer.admit(&self.roll, Timestamp::now()).await {
                Ok(()) => {}
                // The catalog is away: who was welcome stays.
                Err(tresor_identity::AdmitError::RollUnusable { source }) => {
                    tracing::debug!(error = %source, "the roll of hosts cannot be read");
                }
                Err(error) => return Notice::new(codes::DISMISSED, error.to_string()),
            }
        }
    }
}

async fn open(stream: HostStream) -> Option<Connection> {
    let options = Options::new(Role::Service, &[Role::Host], env!("CARGO_PKG_VERSION"));
    let opened = Connection::open(stream, options).await;
    opened
        .inspect_err(|error| tracing::debug!(%error, "a host did not greet"))
        .ok()
}

async fn end(connection: &Connection, notice: Notice) {
    connection.close(notice).await.ok();
}

/// Whoever asked may be gone; then nobody waits for it.
fn say<T: Serialize>(request: Request, answered: Result<T, Failure>) {
    let said = match answered {
        Ok(answer) => request.reply.json(&answer),
        Err(failure) => request.reply.fail(&failure),
    };
    said.ok();
}
