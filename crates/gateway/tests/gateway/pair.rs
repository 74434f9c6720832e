//! The two ends: a service with a vault's gateways, and hosts that reach it over a unix socket.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tresor_backend::{Backend, MemoryBackend, ObjectMeta, ObjectName};
use tresor_channel::{Connection, Options as Link, Role};
use tresor_gateway::{
    Access, Asked, Attempt, Audit, Budget, Gateway, GatewayBackend, HostAccess, KeyNumbers, Limits,
    MemorySessions, Options, Share, Stop, Tenant, VaultSide, Why,
};
use tresor_model::VaultId;
use tresor_vault::{CreateOptions, DomainId, KeyMaterial, Vault};

use crate::support;

/// A test that hangs fails; nothing is asserted about how long it takes.
pub(crate) const HANGS: Duration = Duration::from_secs(120);

/// Waits for no connection that never comes.
pub(crate) fn patient() -> Options {
    Options {
        pause: Duration::from_millis(5),
        ..Options::default()
    }
}

/// What hosts tried.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<Attempt>>);

impl Audit for Told {
    fn attempt(&self, attempt: &Attempt) {
        self.0.lock().unwrap().push(attempt.clone());
    }
}

impl Told {
    pub(crate) fn all(&self) -> Vec<Attempt> {
        self.0.lock().unwrap().clone()
    }

    /// Method, object and reason of each attempt since the last look.
    pub(crate) fn take(&self) -> Vec<(String, String, Why)> {
        let attempts = std::mem::take(&mut *self.0.lock().unwrap());
        let attempts = attempts.into_iter();
        attempts
            .map(|attempt| (attempt.method, attempt.object, attempt.why))
            .collect()
    }
}

/// Any name and any bytes: what is left is the way there and back.
pub(crate) struct AnyObject;

#[async_trait]
impl Access for AnyObject {
    async fn read(&self, _: &ObjectName) -> Result<(), Stop> {
        Ok(())
    }

    async fn show(&self, listed: Vec<ObjectMeta>) -> Result<Vec<ObjectMeta>, Stop> {
        Ok(listed)
    }

    async fn admit(&self, _: &ObjectName, _: u64) -> Result<(), Stop> {
        Ok(())
    }

    async fn check(&self, _: &ObjectName, _: &Bytes) -> Result<(), Stop> {
        Ok(())
    }
}

/// Two ends of a line.
pub(crate) async fn line() -> (Connection, Connection) {
    let (near, far) = UnixStream::pair().unwrap();
    let opened = tokio::join!(
        Connection::open(near, Link::new(Role::Service, &[Role::Host], "0.1.0")),
        Connection::open(far, Link::new(Role::Host, &[Role::Service], "0.1.0"))
    );
    (opened.0.unwrap(), opened.1.unwrap())
}

/// Connects a host to its gateway.
pub(crate) async fn connect(gateway: &Gateway) -> (Connection, JoinHandle<()>) {
    let (service, host) = line().await;
    let gateway = gateway.clone();
    let serving = tokio::spawn(async move { gateway.serve(&service).await });
    (host, serving)
}

/// A gateway that lets anything through that is put once.
pub(crate) fn open_gateway(backend: Arc<dyn Backend>, limits: Limits) -> (Gateway, Arc<Told>) {
    let share = Share {
        id: VaultId::generate(),
        backend,
        access: Arc::new(AnyObject),
    };
    let told = Arc::new(Told::default());
    let vaults = BTreeMap::from([("main".to_owned(), share)]);
    let all = Budget::new(1 << 30);
    let gateway = Gateway::new("host7", vaults, Arc::clone(&told) as _, limits, &all);
    (gateway, told)
}

pub(crate) async fn backend_on(connection: &Connection) -> GatewayBackend {
    // The sender goes: whoever waits for another connection learns that none will come.
    let (_, connections) = watch::channel(Some(connection.clone()));
    GatewayBackend::open(connections, "main", patient())
        .await
        .unwrap()
}

/// The owner's ring answers.
struct Owner(Vault);

#[async_trait]
impl KeyNumbers for Owner {
    async fn domain_of(&self, number: u32) -> Asked<Option<DomainId>> {
        Ok(self.0.domain_of_number(number).await?)
    }
}

pub(crate) fn key_of(host: &str) -> KeyMaterial {
    KeyMaterial::KeyFile(host.repeat(16).into_bytes().into())
}

fn side_of(owner: &Vault, store: &Arc<MemoryBackend>) -> VaultSide {
    VaultSide::new(
        owner.id(),
        Arc::clone(store) as _,
        Arc::new(Owner(owner.clone())),
        Arc::new(MemorySessions::default()),
    )
}

/// A service with one vault.
pub(crate) struct Service {
    pub(crate) store: Arc<MemoryBackend>,
    pub(crate) owner: Vault,
    pub(crate) side: Arc<VaultSide>,
    pub(crate) told: Arc<Told>,
    all: Budget,
}

impl Service {
    pub(crate) async fn new() -> Self {
        let store = Arc::new(MemoryBackend::new());
        let options = CreateOptions::new(support::key());
        let (owner, _) = Vault::create(Arc::clone(&store) as _, options)
            .await
            .unwrap();
        let side = Arc::new(side_of(&owner, &store));
        Self {
            store,
            owner,
            side,
            told: Arc::default(),
            all: Budget::new(1 << 30),
        }
    }

    /// Gives a host a domain of its own, and a gateway.
    pub(crate) async fn enrol(&self, host: &str) -> Gateway {
        let domain = self
            .owner
            .add_host_domain(&key_of(host), host)
            .await
            .unwrap();
        let tenant = self.tenant(domain.ring);
        self.gateway(host, tenant, Limits::default())
    }

    /// As a service that has lost its notes of who began which session.
    pub(crate) fn forget_sessions(&mut self) {
        self.side = Arc::new(side_of(&self.owner, &self.store));
    }

    pub(crate) fn tenant(&self, ring: uuid::Uuid) -> Tenant {
        let domain = self.owner.domain_of_host(ring).unwrap();
        Tenant { ring, domain }
    }

    pub(crate) fn gateway(&self, host: &str, tenant: Tenant, limits: Limits) -> Gateway {
        let share = Share {
            id: self.owner.id(),
            backend: Arc::clone(&self.store) as _,
            access: Arc::new(HostAccess::new(Arc::clone(&self.side), host, tenant)),
        };
        let vaults = BTreeMap::from([("main".to_owned(), share)]);
        let audit = Arc::clone(&self.told) as _;
        Gateway::new(host, vaults, audit, limits, &self.all)
    }

    /// A host of its own domain that has the vault open.
    pub(crate) async fn host(&self, host: &str) -> Host {
        let gateway = self.enrol(host).await;
        let (connection, _) = connect(&gateway).await;
        let backend = Arc::new(backend_on(&connection).await);
        assert_eq!(backend.vault_id(), self.owner.id());
        let place = Arc::clone(&backend) as _;
        let vault = Vault::open(place, &key_of(host)).await.unwrap();
        Host {
            connection,
            backend,
            vault,
        }
    }

    pub(crate) async fn names(&self, prefix: &str) -> Vec<String> {
        names(&*self.store, prefix).await
    }

    pub(crate) async fn object(&self, name: &str) -> Bytes {
        self.store.get(&object(name), u64::MAX).await.unwrap()
    }
}

pub(crate) struct Host {
    pub(crate) connection: Connection,
    pub(crate) backend: Arc<GatewayBackend>,
    pub(crate) vault: Vault,
}

pub(crate) async fn names(backend: &dyn Backend, prefix: &str) -> Vec<String> {
    let listed = backend.list(prefix).await.unwrap();
    let names = listed.iter().map(|meta| meta.name.as_str().to_owned());
    names.collect()
}

pub(crate) fn object(name: &str) -> ObjectName {
    ObjectName::new(name).unwrap()
}
