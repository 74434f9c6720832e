//! Backups of hosts with domains of their own, through their gateways.

use std::sync::Arc;

use tresor_backend::Backend as _;
use tresor_gateway::Limits;
use tresor_model::SessionId;
use tresor_vault::{SessionOptions, Vault, check_structure, verify_objects};

use crate::pair::{Host, Service, backend_on, connect, key_of, names};
use crate::support::{self, begin, eager, noise, point, read_all, write_all};

const MIB: usize = 1 << 20;

async fn incremental(
    host: &Host,
    base: &tresor_model::RecoveryPoint,
    at: u64,
    new: &[u8],
) -> SessionId {
    let id = SessionId::generate();
    let mut options = SessionOptions::new(id);
    options.base = Some(base.id);
    let session = host.vault.begin_session(options).await.unwrap();
    let stream = &base.disks[0].stream;
    let mut writer = session
        .stream(support::name("vda"), stream.size, Some(stream))
        .await
        .unwrap();
    writer
        .write(at, bytes::Bytes::copy_from_slice(new))
        .await
        .unwrap();
    let (disk, stats) = writer.finish().await.unwrap();
    assert!(stats.new > 0 && stats.new <= new.len() as u64 + 2 * support::CHUNK);
    session.commit(point(id, vec![disk])).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_backs_up_and_reads_back_its_own() {
    let service = Service::new().await;
    let others = support::back_up(&service.owner, &noise(1, 2 * MIB)).await;
    let host = service.host("host7").await;
    let mut content = noise(2, 9 * MIB + 5);
    let full = support::back_up(&host.vault, &content).await;
    let changed = noise(3, 5 * support::CHUNK as usize);
    let at = 4 * support::CHUNK;
    let id = incremental(&host, &full, at, &changed).await;
    content[at as usize..at as usize + changed.len()].copy_from_slice(&changed);

    // By a machine that comes anew, with nothing but its key.
    let fresh = Vault::open(Arc::clone(&host.backend) as _, &key_of("host7"))
        .await
        .unwrap();
    let list = fresh.points().await.unwrap();
    assert_eq!(list.points.len(), 2);
    assert!(list.damaged.is_empty(), "{:?}", list.damaged);
    let found = fresh.point(id.into()).await.unwrap();
    assert_eq!(
        read_all(&fresh, &found.disks[0].stream).await.unwrap(),
        content
    );
    let report = fresh.verify_point(id.into(), |_| {}).await.unwrap();
    assert_eq!(
        (report.damaged_count, report.bytes),
        (0, content.len() as u64)
    );
    let place = || Arc::clone(&host.backend) as Arc<dyn tresor_backend::Backend>;
    let report = verify_objects(place(), |_| {}).await.unwrap();
    assert!(report.damaged.is_empty(), "{:?}", report.damaged);
    let report = check_structure(place(), |_| {}).await.unwrap();
    assert!(report.damaged.is_empty(), "{:?}", report.damaged);

    // What it has is known to it, and the owner reads all.
    let session = begin(&fresh).await;
    let (_, stats) = write_all(&session, "vda", &content, None, MIB)
        .await
        .unwrap();
    assert_eq!(stats.new, 0);
    session.abort().await.unwrap();
    let owners = service.owner.points().await.unwrap();
    assert_eq!((owners.points.len(), owners.damaged.len()), (3, 0));
    let theirs = service.owner.point(id.into()).await.unwrap();
    let read = read_all(&service.owner, &theirs.disks[0].stream)
        .await
        .unwrap();
    assert_eq!(read, content);
    // What the owner backed up is not there for the host.
    assert!(fresh.point(others.id).await.is_err());
    let attempts = service.told.take();
    assert_eq!(
        attempts.len(),
        1,
        "an honest host tries nothing: {attempts:?}"
    );
}

/// After collect has moved what is left, and rotated keys: plans and rings are read through the gateway.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_goes_on_after_collect_and_a_new_key() {
    let service = Service::new().await;
    let host = service.host("host7").await;
    let (one, two) = (noise(1, 3 * MIB), noise(2, MIB));
    let first = support::back_up(&host.vault, &[&one[..], &two[..]].concat()).await;
    let second = support::back_up(&host.vault, &two).await;
    service.owner.expire(first.id).await.unwrap();
    service.owner.collect(&eager(), |_| {}).await.unwrap();
    let ring = {
        let slots = names(&*service.store, "keys/ring-").await;
        let mine = names(&*host.backend, "keys/ring-").await;
        assert!(!mine.is_empty() && mine.len() < slots.len());
        let text = mine[0]["keys/ring-".len()..]
            .split('-')
            .next()
            .unwrap()
            .to_owned();
        uuid::Uuid::try_parse(&text).unwrap()
    };
    service.owner.rotate_data_key(Some(ring)).await.unwrap();
    for key in [key_of("host7")] {
        let fresh = Vault::open(Arc::clone(&host.backend) as _, &key)
            .await
            .unwrap();
        let found = fresh.point(second.id).await.unwrap();
        assert_eq!(read_all(&fresh, &found.disks[0].stream).await.unwrap(), two);
        assert_eq!(fresh.points().await.unwrap().points.len(), 1);
        support::back_up(&fresh, &noise(5, MIB)).await;
        assert_eq!(fresh.points().await.unwrap().points.len(), 2);
    }
    // The one that has had the vault open all along reads it too.
    assert_eq!(host.vault.points().await.unwrap().points.len(), 2);
    assert_eq!(service.told.all(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_back_up_into_one_vault_at_once() {
    let service = Service::new().await;
    let (one, two) = (service.host("host1").await, service.host("host2").await);
    let same = noise(9, 4 * MIB);
    let back_up = async |host: &Host, seed: u64| {
        let mut made = Vec::new();
        for round in 0..3_u64 {
            let content = [&same[..], &noise(seed + round, MIB)[..]].concat();
            made.push((support::back_up(&host.vault, &content).await, content));
        }
        made
    };
    let (ones, twos) = tokio::join!(back_up(&one, 100), back_up(&two, 200));
    for (host, other, made) in [(&one, &two, &ones), (&two, &one, &twos)] {
        let list = host.vault.points().await.unwrap();
        assert_eq!((list.points.len(), list.damaged.len()), (3, 0));
        for (point, content) in made {
            let found = host.vault.point(point.id).await.unwrap();
            let read = read_all(&host.vault, &found.disks[0].stream).await.unwrap();
            assert_eq!(&read, content);
        }
        let mine = names(&*host.backend, "").await;
        let theirs = names(&*other.backend, "").await;
        let common: Vec<_> = mine.iter().filter(|name| theirs.contains(name)).collect();
        assert_eq!(common, ["vault"]);
    }
    assert_eq!(service.told.all(), []);
    let list = service.owner.points().await.unwrap();
    assert_eq!((list.points.len(), list.damaged.len()), (6, 0));
    assert!(!one.backend.properties().location.contains('/'));
}

/// The service starts again without its notes of sessions: what was committed is there, what was open is
/// nobody's, and the next backup works.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_has_lost_its_notes_of_sessions() {
    let mut service = Service::new().await;
    let key = key_of("host7");
    let domain = service.owner.add_host_domain(&key, "host7").await.unwrap();
    let tenant = service.tenant(domain.ring);
    let connected = async |service: &Service| {
        let gateway = service.gateway("host7", tenant, Limits::default());
        let (connection, serving) = connect(&gateway).await;
        let backend = Arc::new(backend_on(&connection).await);
        let vault = Vault::open(backend as _, &key).await.unwrap();
        (vault, connection, serving)
    };
    let (before, _line, _) = connected(&service).await;
    let content = noise(1, 2 * MIB);
    let made = support::back_up(&before, &content).await;
    let open = begin(&before).await;
    service.forget_sessions();
    let (after, _line, _) = connected(&service).await;
    let list = after.points().await.unwrap();
    assert_eq!((list.points.len(), list.points[0].id), (1, made.id));
    assert!(after.abort_session(open.id()).await.is_err());
    assert_eq!(service.told.take().len(), 1);
    let found = after.point(made.id).await.unwrap();
    let read = read_all(&after, &found.disks[0].stream).await.unwrap();
    assert_eq!(read, content);
    support::back_up(&after, &noise(2, MIB)).await;
    assert_eq!(after.points().await.unwrap().points.len(), 2);
    assert_eq!(service.told.all(), []);
}
