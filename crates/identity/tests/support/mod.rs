//! A service and its hosts, in directories of their own, at a time of the test's choice.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail like tests; each file uses its share"
)]

pub(crate) mod rogue;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use jiff::{SignedDuration, Timestamp};
use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tresor_identity::{
    Alpn, Authority, Clock, HandshakeError, HandshakeErrorKind, HostIdentity, Names,
    OwnCertificate, PendingHost, ServerCertificates, Session, Trust, enrol_config, server_config,
    session,
};
use tresor_model::HostId;

/// A clock that stands until it is moved.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        Arc::new(Self(AtomicI64::new(now.as_second())))
    }

    pub(crate) fn forward(&self, by: SignedDuration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

pub(crate) const fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// The service's side.
pub(crate) struct Service {
    pub(crate) dir: TempDir,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) authority: Arc<Authority>,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self::at(TestClock::new())
    }

    pub(crate) fn at(clock: Arc<TestClock>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = open(dir.path(), &clock);
        Self {
            dir,
            clock,
            authority,
        }
    }

    /// As after a restart.
    pub(crate) fn reopen(&mut self) {
        self.authority = open(self.dir.path(), &self.clock);
    }

    pub(crate) fn own(&self) -> OwnCertificate {
        let names = Names::new(["localhost", "127.0.0.1"]).unwrap();
        OwnCertificate::new(Arc::clone(&self.authority), names, self.clock.clone()).unwrap()
    }

    pub(crate) fn config(&self) -> ServerConfig {
        self.config_with(ServerCertificates::new(self.own(), None))
    }

    pub(crate) fn config_with(&self, certificates: ServerCertificates) -> ServerConfig {
        let trust: &Trust = self.authority.trust();
        let clock = self.clock.clone();
        server_config(Arc::new(certificates), trust, &Alpn::ALL, clock).unwrap()
    }

    /// A host that enrols: its first contact is over TLS as well.
    pub(crate) async fn enrol(&self, host: HostId) -> Host {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity/host.pem");
        let fingerprint = self.authority.fingerprint();
        let client = enrol_config(fingerprint, self.clock.clone()).unwrap();
        let met = meet(self.config(), client, "nobody-looks-at-this.example").await;
        assert_eq!(met.server.unwrap(), Session::Enrol);
        met.client.unwrap();
        let pending = PendingHost::generate().unwrap();
        let now = self.clock.now();
        let issued = self.authority.sign_host(host, pending.request(), now);
        let pem = issued.unwrap().to_pem();
        let identity = pending.enrol(&path, pem.as_bytes(), fingerprint).unwrap();
        Host {
            dir,
            path,
            clock: self.clock.clone(),
            identity: Arc::new(identity),
        }
    }
}

fn open(dir: &Path, clock: &TestClock) -> Arc<Authority> {
    let authority = Authority::open_or_create(dir, &Names::default(), clock.now());
    Arc::new(authority.unwrap())
}

/// A host's side.
pub(crate) struct Host {
    pub(crate) dir: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) identity: Arc<HostIdentity>,
}

impl Host {
    pub(crate) fn config(&self) -> ClientConfig {
        let identity = Arc::clone(&self.identity);
        tresor_identity::client_config(identity, self.clock.clone()).unwrap()
    }

    pub(crate) fn renew(&self, service: &Service) {
        let pending = PendingHost::generate().unwrap();
        let now = service.clock.now();
        let id = self.identity.id();
        let issued = service.authority.sign_host(id, pending.request(), now);
        let pem = issued.unwrap().to_pem();
        self.identity.renewed(&pending, pem.as_bytes()).unwrap();
    }
}

/// How both ends saw it.
#[derive(Debug)]
pub(crate) struct Met {
    pub(crate) server: Result<Session, HandshakeError>,
    pub(crate) client: Result<(), HandshakeError>,
    /// What the client saw of the server's own certificate.
    pub(crate) shown: Option<Vec<u8>>,
}

impl Met {
    pub(crate) fn server_kind(&self) -> HandshakeErrorKind {
        self.server.as_ref().unwrap_err().kind()
    }

    pub(crate) fn client_kind(&self) -> HandshakeErrorKind {
        self.client.as_ref().unwrap_err().kind()
    }

    pub(crate) fn host(self) -> tresor_identity::HostPeer {
        self.client.unwrap();
        match self.server.unwrap() {
            Session::Link(host) => host,
            other => panic!("no link: {other:?}"),
        }
    }
}

/// One connection over loopback TCP: the server says a byte if it takes the client.
pub(crate) async fn meet(server: ServerConfig, client: ClientConfig, name: &str) -> Met {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let failed = |error: std::io::Error| HandshakeError::of(&error);
        let mut stream = acceptor.accept(stream).await.map_err(failed)?;
        let session = session(stream.get_ref().1)?;
        stream.write_all(b"+").await.map_err(failed)?;
        stream.shutdown().await.map_err(failed)?;
        Ok(session)
    };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let call = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(client));
        let failed = |error: std::io::Error| HandshakeError::of(&error);
        let mut stream = connector.connect(name, stream).await.map_err(failed)?;
        let shown = stream.get_ref().1.peer_certificates();
        let shown = shown
            .and_then(|chain| chain.first())
            .map(|own| own.to_vec());
        let mut byte = [0];
        stream.read_exact(&mut byte).await.map_err(failed)?;
        Ok(shown)
    };
    let (server, client) = tokio::join!(serve, call);
    let shown = client.as_ref().ok().cloned().flatten();
    Met {
        server,
        client: client.map(drop),
        shown,
    }
}
