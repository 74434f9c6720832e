//! Connections that end in the middle of something.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tresor_backend::{Backend, Error, ErrorKind, MemoryBackend, ObjectMeta, ObjectName};
use tresor_channel::{Connection, Options as Link, Role};
use tresor_gateway::{Access, Gateway, GatewayBackend, Limits, Options, Share, Stop};
use tresor_model::SessionId;
use tresor_vault::{SessionOptions, Vault};

use crate::pair::{HANGS, Service, connect, key_of, object, open_gateway, patient};
use crate::support::{noise, point, read_all, write_all};

/// Stops in the middle of a put: before the body is read, or when it has been stored and the answer is
/// about to go.
struct Holding {
    store: Arc<MemoryBackend>,
    after: bool,
    reached: Arc<Notify>,
}

impl Holding {
    async fn hold(&self) -> Result<(), Stop> {
        self.reached.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Access for Holding {
    async fn read(&self, _: &ObjectName) -> Result<(), Stop> {
        Ok(())
    }

    async fn show(&self, listed: Vec<ObjectMeta>) -> Result<Vec<ObjectMeta>, Stop> {
        Ok(listed)
    }

    async fn admit(&self, _: &ObjectName, _: u64) -> Result<(), Stop> {
        if self.after {
            Ok(())
        } else {
            self.hold().await
        }
    }

    async fn check(&self, name: &ObjectName, body: &Bytes) -> Result<(), Stop> {
        self.store.put(name, body.clone()).await?;
        self.hold().await
    }
}

/// Puts an object over a connection that is cut while it is put, lets `meanwhile` happen, and gives the
/// next connection.
async fn put_over_a_cut(
    after: bool,
    meanwhile: impl AsyncFnOnce(&MemoryBackend),
) -> (Result<(), Error>, Arc<MemoryBackend>) {
    let store = Arc::new(MemoryBackend::new());
    let (sound, _) = open_gateway(Arc::clone(&store) as _, Limits::default());
    let reached = Arc::new(Notify::new());
    let share = Share {
        id: tresor_model::VaultId::generate(),
        backend: Arc::clone(&store) as _,
        access: Arc::new(Holding {
            store: Arc::clone(&store),
            after,
            reached: Arc::clone(&reached),
        }),
    };
    let holding = Gateway::new(
        "host7",
        [("main".to_owned(), share)].into(),
        Arc::new(crate::pair::Told::default()),
        Limits::default(),
        &tresor_gateway::Budget::new(1 << 30),
    );
    let (connection, serving) = connect(&holding).await;
    let (sender, connections) = watch::channel(Some(connection));
    let backend = GatewayBackend::open(connections, "main", patient())
        .await
        .unwrap();
    let putting = tokio::spawn(async move { backend.put(&object("a"), big()).await });
    timeout(HANGS, reached.notified()).await.unwrap();
    serving.abort();
    meanwhile(&store).await;
    let (next, _) = connect(&sound).await;
    sender.send(Some(next)).unwrap();
    let put = timeout(HANGS, putting).await.unwrap().unwrap();
    (put, store)
}

/// Larger than what is under way on a stream.
fn big() -> Bytes {
    noise(7, 8 << 20).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_is_cut_leaves_nothing_and_is_made_again() {
    let (put, store) = put_over_a_cut(false, async |store: &MemoryBackend| {
        assert_eq!(store.list("").await.unwrap(), []);
    })
    .await;
    put.unwrap();
    assert_eq!(store.get(&object("a"), u64::MAX).await.unwrap(), big());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_whose_answer_was_lost_is_no_conflict() {
    let (put, store) = put_over_a_cut(true, async |store: &MemoryBackend| {
        assert_eq!(store.list("").await.unwrap().len(), 1);
    })
    .await;
    put.unwrap();
    assert_eq!(store.get(&object("a"), u64::MAX).await.unwrap(), big());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_somebody_else_made_meanwhile_is_a_conflict() {
    for other in [Bytes::from_static(b"theirs"), noise(8, 8 << 20).into()] {
        let theirs = other.clone();
        let (put, store) = put_over_a_cut(false, async |store: &MemoryBackend| {
            store.put(&object("a"), theirs).await.unwrap();
        })
        .await;
        assert_eq!(put.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(store.get(&object("a"), u64::MAX).await.unwrap(), other);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_the_store_is_unavailable() {
    let (gateway, _) = open_gateway(Arc::new(MemoryBackend::new()), Limits::default());
    let (connection, serving) = connect(&gateway).await;
    let (sender, connections) = watch::channel(Some(connection));
    let options = Options {
        connection: std::time::Duration::from_millis(20),
        ..patient()
    };
    let backend = GatewayBackend::open(connections, "main", options)
        .await
        .unwrap();
    serving.abort();
    for _ in 0..2 {
        let error = backend.list("").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.kind().is_transient());
        sender.send(None).unwrap();
    }
    drop(sender);
    let error = backend.put(&object("a"), big()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// Dials again and again; each line is cut after so many bytes from the host.
async fn dial(gateway: Gateway, sender: watch::Sender<Option<Connection>>, cuts: Arc<AtomicU64>) {
    let mut state = 11_u64;
    loop {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let limit = 100_000 + state % 1_500_000;
        let (host, mut near) = UnixStream::pair().unwrap();
        let (mut far, service) = UnixStream::pair().unwrap();
        let cut = async move {
            let (mut near_read, mut near_write) = near.split();
            let (mut far_read, mut far_write) = far.split();
            let up = async {
                let mut from = (&mut near_read).take(limit);
                tokio::io::copy(&mut from, &mut far_write).await.ok();
                far_write.shutdown().await.ok();
            };
            tokio::select! {
                () = up => {}
                _ = tokio::io::copy(&mut far_read, &mut near_write) => {}
            }
        };
        let line = tokio::spawn(cut);
        let opened = tokio::join!(
            Connection::open(service, Link::new(Role::Service, &[Role::Host], "0.1.0")),
            Connection::open(host, Link::new(Role::Host, &[Role::Service], "0.1.0"))
        );
        let (service, host) = (opened.0.unwrap(), opened.1.unwrap());
        if sender.send(Some(host)).is_err() {
            return;
        }
        gateway.serve(&service).await;
        line.await.unwrap();
        cuts.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_on_over_a_line_that_is_cut_again_and_again() {
    let service = Service::new().await;
    let gateway = service.enrol("host7").await;
    let (sender, connections) = watch::channel(None);
    let cuts = Arc::new(AtomicU64::new(0));
    let dialing = tokio::spawn(dial(gateway, sender, Arc::clone(&cuts)));
    // The next line comes when what was under way on the last one is over, however slow this machine is.
    let options = Options {
        attempts: 50,
        connection: HANGS,
        ..patient()
    };
    let backend = GatewayBackend::open(connections, "main", options)
        .await
        .unwrap();
    let vault = Vault::open(Arc::new(backend), &key_of("host7"))
        .await
        .unwrap();
    let content = noise(3, 12 << 20);
    let id = SessionId::generate();
    let mut options = SessionOptions::new(id);
    options.pack_size = 300_000;
    let session = vault.begin_session(options).await.unwrap();
    let (disk, _) = write_all(&session, "vda", &content, None, 1 << 20)
        .await
        .unwrap();
    session.commit(point(id, vec![disk])).await.unwrap();
    assert!(cuts.load(Ordering::Relaxed) > 5, "{cuts:?}");
    let found = vault.point(id.into()).await.unwrap();
    assert_eq!(
        read_all(&vault, &found.disks[0].stream).await.unwrap(),
        content
    );
    let report = tresor_vault::verify_objects(Arc::clone(&service.store) as _, |_| {});
    let damaged = report.await.unwrap().damaged;
    assert!(damaged.is_empty(), "{damaged:?}");
    let owners = service.owner.points().await.unwrap();
    assert_eq!((owners.points.len(), owners.damaged.len()), (1, 0));
    assert_eq!(service.told.all(), []);
    dialing.abort();
}
