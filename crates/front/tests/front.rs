//! The port over real TLS on loopback.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use jiff::Timestamp;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;
use tresor_front::{Front, HostStream, Limits, Links};
use tresor_identity::{
    Alpn, ApiTrust, Authority, HostPeer, Names, OwnCertificate, PendingHost, ServerCertificates,
    SystemClock, Trust, api_client_config, client_config, enrol_config, server_config,
};
use tresor_model::HostId;

/// Says who came for what.
struct Greeter;

#[async_trait::async_trait]
impl Links for Greeter {
    async fn link(&self, mut stream: HostStream, host: HostPeer, _: CancellationToken) {
        let greeting = format!("host {}", host.id);
        stream.write_all(greeting.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    }

    async fn enrol(&self, mut stream: HostStream, _: CancellationToken) {
        stream.write_all(b"enrol").await.unwrap();
        stream.shutdown().await.unwrap();
    }
}

struct Served {
    address: SocketAddr,
    authority: Arc<Authority>,
    stop: CancellationToken,
    ended: JoinHandle<()>,
    dir: tempfile::TempDir,
}

async fn serve(limits: Limits) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock);
    let now = Timestamp::now();
    let authority = Authority::open_or_create(dir.path(), &Names::default(), now).unwrap();
    let authority = Arc::new(authority);
    let names = Names::new(["localhost"]).unwrap();
    let own = OwnCertificate::new(Arc::clone(&authority), names, clock.clone()).unwrap();
    let trust = Trust::from_file(&dir.path().join("ca.crt")).unwrap();
    let certificates = Arc::new(ServerCertificates::new(own, None));
    let config = server_config(certificates, &trust, &Alpn::ALL, clock).unwrap();
    let router = Router::new().route("/", get(|| async { "here" })).route(
        "/slow",
        get(|| async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }),
    );
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let front = Front::bind(any, config, router, Arc::new(Greeter), limits)
        .await
        .unwrap();
    let address = front.address().unwrap();
    let stop = CancellationToken::new();
    let ended = tokio::spawn(front.serve(stop.clone()));
    Served {
        address,
        authority,
        stop,
        ended,
        dir,
    }
}

impl Served {
    fn api(&self) -> ClientConfig {
        let trust = Trust::from_file(&self.dir.path().join("ca.crt")).unwrap();
        api_client_config(&ApiTrust::Authorities(trust), Arc::new(SystemClock)).unwrap()
    }

    async fn connect(&self, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// The answer to a GET; empty when the connection ends.
    async fn get(&self, path: &str) -> String {
        let mut config = self.api();
        config.alpn_protocols = vec![Alpn::Http1.id().to_vec()];
        let mut stream = self.connect(config).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[tokio::test]
async fn the_api_is_served_and_ends_when_told() {
    let served = serve(Limits::default()).await;
    let answer = served.get("/").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"),
        "{answer}"
    );
    served.stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), served.ended)
        .await
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_cut_off() {
    let served = serve(Limits::default()).await;
    let address = served.address;
    let (stop, api) = (served.stop.clone(), served.api());
    let mut config = api;
    config.alpn_protocols = vec![Alpn::Http1.id().to_vec()];
    let mut stream = served.connect(config).await.unwrap();
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), served.ended)
        .await
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_is_no_handshake_harms_nobody_else() {
    let served = serve(Limits::default()).await;
    let mut garbage = TcpStream::connect(served.address).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    assert!(served.get("/").await.ends_with("here"));
    let mut answer = Vec::new();
    garbage.read_to_end(&mut answer).await.ok();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    silent.write_all(b"x").await.ok();
}

#[tokio::test]
async fn hosts_get_what_they_came_for() {
    let served = serve(Limits::default()).await;
    let said = async |config| {
        let mut stream = served.connect(config).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    };
    let clock = Arc::new(SystemClock);
    let authority = served.authority.fingerprint();
    let enrolling = enrol_config(authority, clock.clone()).unwrap();
    assert_eq!(said(enrolling).await, "enrol");

    let pending = PendingHost::generate().unwrap();
    let (id, now) = (HostId::generate(), Timestamp::now());
    let issued = served.authority.sign_host(id, pending.request(), now);
    let path = served.dir.path().join("host.pem");
    let pem = issued.unwrap().to_pem();
    let host = pending.enrol(&path, pem.as_bytes(), authority).unwrap();
    let linking = client_config(Arc::new(host), clock).unwrap();
    assert_eq!(said(linking).await, format!("host {id}"));
}

#[tokio::test]
async fn who_comes_beyond_the_limit_is_closed_at_once() {
    let served = serve(Limits {
        connections: 10,
        per_address: 1,
    })
    .await;
    let held = served.connect(served.api()).await.unwrap();
    let mut second = TcpStream::connect(served.address).await.unwrap();
    let mut answer = Vec::new();
    second.read_to_end(&mut answer).await.ok();
    assert!(answer.is_empty());
    drop(held);
    // The place comes back when the server has seen the end.
    for _ in 0..600 {
        if let Ok(mut stream) = served.connect(served.api()).await
            && stream.write_all(b"x").await.is_ok()
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the place did not come back");
}
