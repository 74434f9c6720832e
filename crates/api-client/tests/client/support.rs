//! A service without a port, a service with one, and a server that answers what it is told to.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, body::Body};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, Request, StatusCode};
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tresor_api::{ApiOptions, ApiState, TokenAccess, router};
use tresor_api_client::{Client, Patience, Reply, SendError, Transport};
use tresor_catalog::{Catalog, SecretHash, TokenRecord, TokenRole};
use tresor_front::{Front, HostStream, Limits, Links};
use tresor_identity::{
    Address, Alpn, ApiToken, Authority, HostPeer, Names, OwnCertificate, ServerCertificates,
    SystemClock, Trust, server_config,
};
use tresor_model::TokenId;
use tresor_policy::Policy;
use zeroize::Zeroizing;

/// Pauses that nobody waits for.
pub(crate) const HASTE: Patience = Patience {
    sends: 4,
    first_pause: Duration::from_millis(1),
};

/// The API on a catalog in a temporary directory.
pub(crate) struct Service {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) router: Router,
    pub(crate) dir: TempDir,
}

impl Service {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("catalog.db")).await.unwrap();
        let catalog = Arc::new(catalog);
        for policy in Policy::ready_made() {
            catalog.add_policy(&policy, Timestamp::now()).await.unwrap();
        }
        let access = Arc::new(TokenAccess::new(Arc::clone(&catalog)));
        let options = ApiOptions {
            poll: Duration::from_millis(20),
            burst: 10_000,
            ..ApiOptions::default()
        };
        let changed = Arc::new(Notify::new());
        let state = ApiState::new(Arc::clone(&catalog), changed, access, options);
        let router = router(state);
        Self {
            catalog,
            router,
            dir,
        }
    }

    pub(crate) async fn token(&self, role: TokenRole) -> Zeroizing<String> {
        let token = ApiToken::generate(TokenId::generate()).unwrap();
        let record = TokenRecord {
            id: token.id(),
            name: "test".to_owned(),
            hash: SecretHash::from(*token.hash().as_bytes()),
            role,
            created_at: Timestamp::now(),
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
        };
        self.catalog.add_token(&record).await.unwrap();
        token.to_text()
    }

    /// A client that calls the router.
    pub(crate) async fn direct(&self) -> Direct {
        let token = self.token(TokenRole::Admin).await;
        Direct {
            router: self.router.clone(),
            token: token.as_str().to_owned(),
            seen: Mutex::default(),
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::new(Arc::new(self.direct().await)).with_patience(HASTE)
    }
}

/// A way to a router that remembers what was asked.
pub(crate) struct Direct {
    router: Router,
    token: String,
    pub(crate) seen: Mutex<Vec<(String, String, HeaderMap)>>,
}

#[async_trait]
impl Transport for Direct {
    fn server(&self) -> &'static str {
        "https://test"
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Reply, SendError> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let seen = (parts.method.to_string(), path, parts.headers.clone());
        self.seen.lock().unwrap().push(seen);
        let bearer = format!("Bearer {}", self.token).parse().unwrap();
        parts.headers.insert("authorization", bearer);
        let request = Request::from_parts(parts, Body::from(body));
        let (parts, body) = self
            .router
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .into_parts();
        let lost = |error: axum::Error| SendError::lost("test", error.to_string());
        let body = body.into_data_stream().map(move |it| it.map_err(lost));
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body: Box::pin(body),
        })
    }
}

/// What a server says that is told what to say.
#[derive(Clone)]
pub(crate) enum Says {
    /// Status, headers, body.
    This(u16, Vec<(&'static str, &'static str)>, String),
    /// Nothing: the connection is lost.
    Lost,
    /// The beginning of an answer.
    Cut(String),
    /// An answer of so many mebibytes.
    Endless(usize),
}

/// A server that answers what it is told to, and remembers what it was asked.
#[derive(Default)]
pub(crate) struct Script {
    answers: Mutex<VecDeque<Says>>,
    pub(crate) seen: Mutex<Vec<Request<Bytes>>>,
}

impl Script {
    pub(crate) fn new(answers: impl IntoIterator<Item = Says>) -> Arc<Self> {
        let answers = Mutex::new(answers.into_iter().collect());
        let seen = Mutex::default();
        Arc::new(Self { answers, seen })
    }

    pub(crate) fn client(self: &Arc<Self>) -> Client {
        Client::new(Arc::clone(self) as Arc<dyn Transport>).with_patience(HASTE)
    }

    pub(crate) fn sends(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The values of a header, one a request.
    pub(crate) fn header(&self, name: &str) -> Vec<Option<String>> {
        let seen = self.seen.lock().unwrap();
        let value = |request: &Request<Bytes>| {
            let value = request.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        seen.iter().map(value).collect()
    }
}

#[async_trait]
impl Transport for Script {
    fn server(&self) -> &'static str {
        "https://script"
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Reply, SendError> {
        self.seen.lock().unwrap().push(request);
        let next = self.answers.lock().unwrap().pop_front();
        let lost = || SendError::lost("https://script", "gone".to_owned());
        let (status, headers, body) = match next.unwrap_or(Says::Lost) {
            Says::Lost => return Err(lost()),
            Says::This(status, headers, body) => (
                status,
                headers,
                stream::iter([Ok(Bytes::from(body))]).boxed(),
            ),
            Says::Cut(body) => {
                let cut = [Ok(Bytes::from(body)), Err(lost())];
                (200, Vec::new(), stream::iter(cut).boxed())
            }
            Says::Endless(mebibytes) => {
                let piece = Bytes::from(vec![b' '; 1 << 20]);
                let pieces = stream::iter(0..mebibytes).map(move |_| Ok(piece.clone()));
                (200, Vec::new(), pieces.boxed())
            }
        };
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.insert(name, value.parse().unwrap());
        }
        Ok(Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: all,
            body,
        })
    }
}

struct NoLinks;

#[async_trait]
impl Links for NoLinks {
    async fn link(&self, _: HostStream, _: HostPeer, _: CancellationToken) {}
    async fn enrol(&self, _: HostStream, _: CancellationToken) {}
}

/// A router behind the real port.
pub(crate) struct Port {
    pub(crate) address: Address,
    pub(crate) authority: Arc<Authority>,
    pub(crate) trust: Trust,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl Port {
    pub(crate) async fn open(router: Router, dir: &std::path::Path) -> Self {
        let clock = Arc::new(SystemClock);
        let authority = Authority::open_or_create(dir, &Names::default(), Timestamp::now());
        let authority = Arc::new(authority.unwrap());
        let names = Names::new(["127.0.0.1"]).unwrap();
        let own = OwnCertificate::new(Arc::clone(&authority), names, clock.clone()).unwrap();
        let trust = Trust::from_file(&dir.join("ca.crt")).unwrap();
        let certificates = Arc::new(ServerCertificates::new(own, None));
        let config = server_config(certificates, &trust, &Alpn::ALL, clock).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let front = Front::bind(any, config, router, Arc::new(NoLinks), Limits::default());
        let front = front.await.unwrap();
        let address = format!("https://{}", front.address().unwrap());
        let stop = CancellationToken::new();
        let ended = tokio::spawn(front.serve(stop.clone()));
        Self {
            address: address.parse().unwrap(),
            authority,
            trust,
            stop,
            ended,
        }
    }

    pub(crate) async fn close(self) {
        self.stop.cancel();
        self.ended.await.unwrap();
    }
}
