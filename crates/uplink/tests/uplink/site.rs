//! A service without its scheduler: a catalog, an authority, a port.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use tresor_catalog::{Catalog, HostRecord, HostState};
use tresor_channel::Connection;
use tresor_front::{Front, Limits};
use tresor_identity::{
    Alpn, Authority, EnrolmentToken, HostIdentity, Names, OwnCertificate, PendingHost,
    ServerCertificates, SystemClock, Trust, server_config,
};
use tresor_model::HostId;
use tresor_problem::Problem;
use tresor_uplink::{Address, HostLinks, LinkOptions, Pause, Uplink};

/// No wait of a test takes this long on a machine that works.
pub(crate) const HANGS: Duration = Duration::from_secs(120);

pub(crate) struct Site {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) address: SocketAddr,
    pub(crate) dir: TempDir,
    _stop: tokio_util::sync::DropGuard,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("catalog.db")).await.unwrap();
        let (catalog, clock) = (Arc::new(catalog), Arc::new(SystemClock));
        let identity = dir.path().join("identity");
        let authority =
            Authority::open_or_create(&identity, &Names::default(), Timestamp::now()).unwrap();
        let authority = Arc::new(authority);
        let names = Names::new(["localhost"]).unwrap();
        let own = OwnCertificate::new(Arc::clone(&authority), names, clock.clone()).unwrap();
        let trust = Trust::from_file(&identity.join("ca.crt")).unwrap();
        let certificates = Arc::new(ServerCertificates::new(own, None));
        let config = server_config(certificates, &trust, &Alpn::ALL, clock).unwrap();
        let options = LinkOptions {
            look_every: Duration::from_millis(100),
            ..LinkOptions::default()
        };
        let links = HostLinks::new(Arc::clone(&catalog), Arc::clone(&authority), options);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let front = Front::bind(
            any,
            config,
            Router::new(),
            Arc::new(links),
            Limits::default(),
        );
        let front = front.await.unwrap();
        let address = front.address().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(front.serve(stop.clone()));
        Self {
            catalog,
            authority,
            address,
            dir,
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) fn server(&self) -> Address {
        self.address.to_string().parse().unwrap()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) async fn token(&self, name: &str) -> EnrolmentToken {
        let authority = self.authority.fingerprint();
        let made = tresor_uplink::new_enrolment(&self.catalog, authority, name, HANGS).await;
        made.unwrap().parse().unwrap()
    }

    pub(crate) async fn enrol(&self, name: &str) -> Result<HostIdentity, Problem> {
        let token = self.token(name).await;
        let file = self.file(&format!("{name}.pem"));
        tresor_uplink::enrol(&self.server(), &token, name, &file).await
    }

    /// A host that enrolled so long ago.
    pub(crate) async fn enrolled(&self, name: &str, ago: Duration) -> HostIdentity {
        let (id, at) = (HostId::generate(), Timestamp::now() - ago);
        let pending = PendingHost::generate().unwrap();
        let issued = self.authority.sign_host(id, pending.request(), at).unwrap();
        let record = HostRecord {
            id,
            name: name.to_owned(),
            state: HostState::Enrolled,
            serial: Some(issued.serial.to_string()),
            enrolled_at: at,
            last_seen: None,
            version: None,
            capabilities: json!({}),
        };
        self.catalog.enrol_host(&record).await.unwrap();
        let (file, pem) = (self.file(&format!("{name}.pem")), issued.to_pem());
        let identity = pending.enrol(&file, pem.as_bytes(), self.authority.fingerprint());
        identity.unwrap()
    }

    /// Keeps a host's connection.
    pub(crate) fn uplink(&self, identity: HostIdentity) -> Linked {
        let identity = Arc::new(identity);
        let pause = Pause {
            first: Duration::from_millis(20),
            longest: Duration::from_millis(200),
        };
        let uplink = Uplink::new(self.server(), Arc::clone(&identity), pause);
        let connections = uplink.connections();
        let stop = CancellationToken::new();
        tokio::spawn(uplink.run(stop.clone()));
        Linked {
            identity,
            connections,
            _stop: stop.drop_guard(),
        }
    }
}

/// A host with an uplink.
pub(crate) struct Linked {
    pub(crate) identity: Arc<HostIdentity>,
    pub(crate) connections: watch::Receiver<Option<Connection>>,
    _stop: tokio_util::sync::DropGuard,
}

impl Linked {
    pub(crate) async fn connection(&self) -> Connection {
        let mut connections = self.connections.clone();
        let found = connections.wait_for(Option::is_some);
        let found = timeout(HANGS, found).await.unwrap().unwrap();
        found.clone().unwrap()
    }
}
