//! The two ends: a service with a catalog, and hosts that reach it over unix sockets.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tresor_catalog::{Catalog, HostRecord, HostState, VaultRecord, VmRecord};
use tresor_channel::{Connection, Options as Link, Role};
use tresor_host_link::{Attempt, Audit, Connections, Desk, Limits, Options, RemoteLog};
use tresor_jobs::JobQueue;
use tresor_jobs::testing::{contract::Keeper, queue::Lanes};
use tresor_model::{HostId, VaultId, VmId};

/// A test that hangs fails; nothing is asserted about how long it takes.
pub(crate) const HANGS: Duration = Duration::from_secs(120);

/// Waits for no connection that never comes.
pub(crate) fn patient() -> Options {
    Options {
        pause: Duration::from_millis(5),
        silence: HANGS,
        brief: HANGS,
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
    /// What was told since the last look.
    pub(crate) fn take(&self) -> Vec<Attempt> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// The service's end of a line that can be made to swallow what the service says.
struct Mutable {
    inner: UnixStream,
    muted: Arc<AtomicBool>,
}

impl AsyncRead for Mutable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Mutable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.muted.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Two ends of a line, the service's first, and what mutes the service.
async fn line() -> (Connection, Connection, Arc<AtomicBool>) {
    let (near, far) = UnixStream::pair().unwrap();
    let muted = Arc::new(AtomicBool::new(false));
    let near = Mutable {
        inner: near,
        muted: Arc::clone(&muted),
    };
    let opened = tokio::join!(
        Connection::open(near, Link::new(Role::Service, &[Role::Host], "0.1.0")),
        Connection::open(far, Link::new(Role::Host, &[Role::Service], "0.1.0"))
    );
    (opened.0.unwrap(), opened.1.unwrap(), muted)
}

/// Connects a host to its desk, for as long as the task runs.
pub(crate) async fn connect(desk: &Desk) -> (Connection, JoinHandle<()>) {
    let (service, host, _) = line().await;
    let desk = desk.clone();
    let serving = tokio::spawn(async move { desk.serve(&service).await });
    (host, serving)
}

/// A connection that is always there.
pub(crate) async fn steady(desk: &Desk) -> Connections {
    let (connection, _) = connect(desk).await;
    // The sender goes: whoever waits for another connection learns that none will come.
    watch::channel(Some(connection)).1
}

/// Which answers are lost.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    asked: AtomicU64,
    /// How many were.
    pub(crate) lost: AtomicU64,
}

impl Cuts {
    /// Of three requests that may be made again, one is carried out and its answer is lost. In no period: calls
    /// that are made at once would be lost together for ever.
    fn loses(&self, method: &str) -> bool {
        if matches!(method, "jobs.heartbeat" | "jobs.progress") {
            return false;
        }
        let nth = self.asked.fetch_add(1, Ordering::SeqCst);
        let mixed = (nth + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let loses = mixed.is_multiple_of(3);
        self.lost.fetch_add(u64::from(loses), Ordering::SeqCst);
        loses
    }
}

/// Connections one after the other: each ends between a request that was carried out and its answer.
pub(crate) async fn cut_again_and_again(desk: Desk, cuts: Arc<Cuts>) -> Connections {
    let (sender, connections) = watch::channel(None);
    tokio::spawn(async move {
        while !sender.is_closed() {
            let (service, host, muted) = line().await;
            sender.send(Some(host)).ok();
            let cut = Arc::new(Notify::new());
            let (desk, cuts) = (desk.clone(), Arc::clone(&cuts));
            let serving = service.serve(|request| {
                let loses = cuts.loses(&request.method);
                // From here on nothing that the service says arrives.
                muted.fetch_or(loses, Ordering::SeqCst);
                let (desk, cut) = (desk.clone(), Arc::clone(&cut));
                async move {
                    desk.handle(request).await;
                    if loses {
                        cut.notify_one();
                    }
                }
            });
            tokio::select! {
                () = serving => {}
                () = cut.notified() => {}
                () = sender.closed() => {}
            }
        }
    });
    connections
}

/// A service with a catalog, and the hosts that have enrolled.
pub(crate) struct Service {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) told: Arc<Told>,
    /// Where answers are lost, if anywhere.
    pub(crate) cuts: Option<Arc<Cuts>>,
    logs: Mutex<BTreeMap<String, Arc<RemoteLog>>>,
    dir: Option<TempDir>,
}

impl Service {
    /// On SQLite.
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("catalog.db")).await.unwrap();
        let mut service = Self::on(catalog).await;
        service.dir = Some(dir);
        service
    }

    pub(crate) async fn on(catalog: Catalog) -> Self {
        catalog.add_vault(&vault("main")).await.unwrap();
        Self {
            catalog: Arc::new(catalog),
            told: Arc::default(),
            cuts: None,
            logs: Mutex::default(),
            dir: None,
        }
    }

    /// Loses answers.
    pub(crate) fn cutting(mut self) -> Self {
        self.cuts = Some(Arc::default());
        self
    }

    pub(crate) async fn enrol(&self) -> HostId {
        let id = HostId::generate();
        let record = HostRecord {
            id,
            name: id.to_string(),
            state: HostState::Enrolled,
            serial: None,
            enrolled_at: Timestamp::now(),
            last_seen: None,
            version: None,
            capabilities: Value::Null,
        };
        self.catalog.add_host(&record).await.unwrap();
        id
    }

    pub(crate) fn desk(&self, host: HostId) -> Desk {
        let (catalog, told) = (Arc::clone(&self.catalog), Arc::clone(&self.told));
        Desk::new(catalog, host, "0.1.0", told, Limits::default())
    }

    pub(crate) async fn connections(&self, host: HostId) -> Connections {
        let desk = self.desk(host);
        match &self.cuts {
            Some(cuts) => cut_again_and_again(desk, Arc::clone(cuts)).await,
            None => steady(&desk).await,
        }
    }

    pub(crate) async fn log(&self, host: HostId) -> Arc<RemoteLog> {
        let connections = self.connections(host).await;
        Arc::new(RemoteLog::new(connections, patient()))
    }

    /// A VM on a host; `None`: on the service's machine.
    pub(crate) async fn vm(&self, name: &str, host: Option<HostId>) -> VmRecord {
        let vm = VmRecord {
            name: name.to_owned(),
            id: VmId::from_uuid(uuid::Uuid::new_v4()),
            qmp_socket: "/run/qmp".into(),
            agent_socket: None,
            excluded_disks: Vec::new(),
            included_disks: Vec::new(),
            machine: None,
            host,
            vault: "main".to_owned(),
            retention: None,
            created_at: now(),
        };
        self.catalog.add_vm(&vm).await.unwrap();
        vm
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let tried = self.told.take();
        if !std::thread::panicking() {
            assert_eq!(tried, [], "a host that is as it should be tries nothing");
        }
    }
}

pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now().as_microsecond();
    Timestamp::from_microsecond(now).unwrap()
}

pub(crate) fn vault(name: &str) -> VaultRecord {
    VaultRecord {
        name: name.to_owned(),
        id: VaultId::generate(),
        location: format!("/backup/{name}"),
        settings: None,
        key_source: String::new(),
        verify_share: None,
        created_at: now(),
    }
}

#[async_trait]
impl Keeper for Service {
    fn has_own_clock(&self) -> bool {
        true
    }

    /// Of a VM of the lane's host: a host holds no other keys.
    async fn lock(&self, lane: &str) -> String {
        let host = lane.parse().unwrap();
        let name = format!("vm {}", uuid::Uuid::new_v4());
        format!("vm:{}", self.vm(&name, Some(host)).await.id)
    }
}

/// Each lane is a host.
#[async_trait]
impl Lanes for Service {
    async fn lane(&self) -> String {
        let host = self.enrol().await;
        let (lane, log) = (host.to_string(), self.log(host).await);
        self.logs.lock().unwrap().insert(lane.clone(), log);
        lane
    }

    fn queue(&self) -> &dyn JobQueue {
        &*self.catalog
    }

    fn at(&self, lane: &str) -> Arc<dyn JobQueue> {
        Arc::clone(&self.logs.lock().unwrap()[lane]) as _
    }
}
