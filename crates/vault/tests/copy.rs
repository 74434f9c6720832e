//! Copies of recovery points in a second vault: whole, cheap, and known as copies.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use support::{CHUNK, back_up, begin, key, memory_vault, name, noise, point, read_all, write_all};
use tresor_backend::wrap::{Fault, Faulty, Metered, Verb};
use tresor_backend::{Backend, ErrorKind as StorageKind, LocalBackend, MemoryBackend, ObjectName};
use tresor_model::{Extent, RecoveryPoint, SessionId, StreamRecord};
use tresor_vault::{
    Base, CHUNK_SIZE, CopyChoice, CopyOptions, CopyStats, CreateOptions, ErrorKind, KeyMaterial,
    ReadBack, SessionOptions, Vault, copy_point, plan_copies,
};

const MIB: usize = 1 << 20;

fn options() -> CopyOptions {
    CopyOptions {
        session: SessionOptions::new(SessionId::generate()),
        read_back: ReadBack::All,
    }
}

async fn copy(
    from: &Vault,
    to: &Vault,
    point: &RecoveryPoint,
    base: Option<&Base>,
) -> (RecoveryPoint, CopyStats) {
    copy_point(from, to, point, base, options(), |_| ())
        .await
        .unwrap()
}

/// A disk with the given changes to the one before.
async fn next_point(
    vault: &Vault,
    before: &RecoveryPoint,
    size: u64,
    changes: &[(u64, Vec<u8>)],
    zeros: &[Extent],
) -> RecoveryPoint {
    let session = begin(vault).await;
    let base = &before.disks[0].stream;
    let mut writer = session.stream(name("vda"), size, Some(base)).await.unwrap();
    for (at, bytes) in changes {
        writer.write(*at, bytes.clone().into()).await.unwrap();
    }
    for zero in zeros {
        writer.zero(*zero).await.unwrap();
    }
    let (disk, _) = writer.finish().await.unwrap();
    let mut next = point(session.id(), vec![disk]);
    next.vm = before.vm;
    next.sequence = before.sequence + 1;
    next.parent = Some(before.id);
    session.commit(next.clone()).await.unwrap();
    next
}

fn disk(point: &RecoveryPoint) -> &StreamRecord {
    &point.disks[0].stream
}

/// Another kind of store, other keys: the bytes are the same, the point is known as a copy, and
/// everything that tells of the backup is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_on_another_store_is_the_point() {
    let (_backend, first, _) = memory_vault().await;
    let place = tempfile::tempdir().unwrap();
    let store = LocalBackend::create(&place.path().join("second"))
        .await
        .unwrap();
    let other_key = KeyMaterial::KeyFile(b"another key, of 32 bytes or more".to_vec().into());
    let created = Vault::create(Arc::new(store), CreateOptions::new(other_key)).await;
    let (second, _) = created.unwrap();

    let content = noise(1, 9 * MIB + 3 * CHUNK_SIZE + 17);
    let mut original = back_up(&first, &content).await;
    original = first.point(original.id).await.unwrap();
    let (copied, stats) = copy(&first, &second, &original, None).await;
    assert_eq!(stats.read, content.len() as u64);
    assert_eq!(stats.read_back, content.len() as u64);
    assert!(read_all(&second, disk(&copied)).await.unwrap() == content);
    assert_ne!(
        disk(&copied).root,
        disk(&original).root,
        "ids are each vault's own"
    );

    let from = copied.copied_from.unwrap();
    assert_eq!((from.vault, from.point), (first.id(), original.id));
    let stored = second.point(copied.id).await.unwrap();
    assert_eq!(stored, copied);
    let as_it_was = RecoveryPoint {
        id: original.id,
        copied_from: None,
        disks: original.disks.clone(),
        ..copied.clone()
    };
    assert_eq!(as_it_was, original);
    assert_eq!(copied.disks[0].tracking, original.disks[0].tracking);
    let listed = second.points().await.unwrap().points;
    assert_eq!(listed[0].copied_from, Some(from));
    assert_eq!(listed[0].origin(second.id()), (first.id(), original.id));

    // A copy of a copy is one of the first.
    let (_third_backend, third, _) = memory_vault().await;
    let (again, _) = copy(&second, &third, &copied, None).await;
    let from = again.copied_from.unwrap();
    assert_eq!((from.vault, from.point), (first.id(), original.id));
}

/// I9: the second copy reads, sends and stores what changed.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_copy_costs_what_changed() {
    let first_store = Arc::new(Metered::new(MemoryBackend::new()));
    let created = Vault::create(first_store.clone(), CreateOptions::new(key())).await;
    let (first, _) = created.unwrap();
    let second_store = Arc::new(Metered::new(MemoryBackend::new()));
    let created = Vault::create(second_store.clone(), CreateOptions::new(key())).await;
    let (second, _) = created.unwrap();
    let content = noise(2, 64 * MIB);
    let original = back_up(&first, &content).await;
    // What a machine has copied it knows for its own the next time.
    let cache = tempfile::tempdir().unwrap();
    let remembering = || {
        let mut options = options();
        options.session.index_cache = Some(cache.path().to_owned());
        options
    };
    let copied = copy_point(&first, &second, &original, None, remembering(), |_| ()).await;
    let (copied, _) = copied.unwrap();

    let size = 900 * MIB as u64; // and a level of the tree more
    let changed = [
        (5 * MIB as u64, noise(3, CHUNK_SIZE)),
        (40 * MIB as u64, noise(4, 2 * CHUNK_SIZE)),
    ];
    let hole = Extent::between(48 * MIB as u64, 60 * MIB as u64);
    let next = next_point(&first, &original, size, &changed, &[hole]).await;
    // Another program, whose caches are empty.
    let first = Vault::open(first_store.clone(), &key()).await.unwrap();
    let second = Vault::open(second_store.clone(), &key()).await.unwrap();
    let bytes = |store: &Metered<MemoryBackend>, verb| store.snapshot().of(verb).bytes;
    let (read, sent) = (
        bytes(&first_store, Verb::GetRange),
        bytes(&second_store, Verb::Put),
    );
    let base = Base {
        here: original,
        there: copied,
    };
    let mut quick = remembering();
    quick.read_back = ReadBack::None;
    let copied = copy_point(&first, &second, &next, Some(&base), quick, |_| ()).await;
    let (copied, stats) = copied.unwrap();
    assert_eq!((stats.read, stats.new), (3 * CHUNK, 3 * CHUNK));
    let read = bytes(&first_store, Verb::GetRange) - read;
    assert!(
        read < 4 * MIB as u64,
        "{read} bytes read for {} changed",
        3 * CHUNK
    );
    let sent = bytes(&second_store, Verb::Put) - sent;
    assert!(
        sent < 4 * CHUNK,
        "{sent} bytes sent for {} changed",
        3 * CHUNK
    );
    let there = second.reader(disk(&copied)).unwrap();
    let here = first.reader(disk(&next)).unwrap();
    let whole = Extent::between(0, size);
    assert_eq!(
        there.extents(whole).await.unwrap(),
        here.extents(whole).await.unwrap()
    );
    let len = 64 * MIB;
    assert!(there.read_at(0, len).await.unwrap() == here.read_at(0, len).await.unwrap());
}

/// The store of the second vault fails in the middle: the next try sends the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_cut_off_goes_on() {
    let (_backend, first, _) = memory_vault().await;
    let (second_store, second, _) = memory_vault().await;
    drop(second);
    let content = noise(5, 48 * MIB);
    let original = back_up(&first, &content).await;
    let fault = Fault::new(StorageKind::Denied)
        .on(Verb::Put)
        .named("packs/")
        .calls(24..1000);
    let cut_off = Arc::new(Faulty::new(Arc::clone(&second_store), vec![fault]));
    let second = Vault::open(cut_off, &key()).await.unwrap();
    let small = |mut options: CopyOptions| {
        options.session.pack_size = MIB;
        options
    };
    let failed = copy_point(&first, &second, &original, None, small(options()), |_| ()).await;
    assert!(failed.is_err());
    assert!(second.points().await.unwrap().points.is_empty());
    let packs = second_store.list("packs/").await.unwrap();
    let there: u64 = packs.iter().map(|pack| pack.size).sum();
    assert!(there >= 20 * MIB as u64);

    let metered = Arc::new(Metered::new(Arc::clone(&second_store)));
    let second = Vault::open(metered.clone(), &key()).await.unwrap();
    let copied = copy_point(&first, &second, &original, None, small(options()), |_| ()).await;
    let (copied, stats) = copied.unwrap();
    let sent = metered.snapshot().of(Verb::Put).bytes;
    let rest = content.len() as u64 - there;
    assert!(
        sent < rest + 2 * MIB as u64,
        "{sent} sent, {rest} were missing"
    );
    assert!(stats.new <= rest + MIB as u64, "{stats:?}");
    assert!(read_all(&second, disk(&copied)).await.unwrap() == content);
}

/// Damage in the first vault is found by copying, and makes no point in the second.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_point_is_not_copied() {
    let (first_store, first, _) = memory_vault().await;
    let (_backend, second, _) = memory_vault().await;
    let original = back_up(&first, &noise(6, 4 * MIB)).await;
    let packs = first_store.list("packs/").await.unwrap();
    let largest = packs.iter().max_by_key(|pack| pack.size).unwrap();
    let mut body = first_store
        .get(&largest.name, u64::MAX)
        .await
        .unwrap()
        .to_vec();
    body[MIB] ^= 1;
    first_store.overwrite(&largest.name, Bytes::from(body));
    let failed = copy_point(&first, &second, &original, None, options(), |_| ()).await;
    let error = failed.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::ChunkDamaged { .. }),
        "{error}"
    );
    assert!(second.points().await.unwrap().points.is_empty());
}

/// The one before is gone from the first vault: everything is read, what is known is not sent.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_one_before_nothing_is_sent_twice() {
    let (first_store, first, _) = memory_vault().await;
    let (_backend, second, _) = memory_vault().await;
    let content = noise(7, 8 * MIB);
    let original = back_up(&first, &content).await;
    let (copied, _) = copy(&first, &second, &original, None).await;
    let session = begin(&first).await;
    let (stream, _) = write_all(&session, "vda", &content, None, MIB)
        .await
        .unwrap();
    let mut next = point(session.id(), vec![stream]);
    next.vm = original.vm;
    session.commit(next.clone()).await.unwrap();
    // The first point's tree is another pack than the second's: take it away.
    let pack = disk(&original).root.as_ref().unwrap().pack.clone();
    let pack = ObjectName::new(format!("packs/{}/{pack}", &pack[..2])).unwrap();
    first_store.delete(&pack).await.unwrap();
    let first = Vault::open(first_store, &key()).await.unwrap();
    let mut base = Base {
        here: original,
        there: copied,
    };
    // A base that is not what the root says: its tree has to be read.
    base.here.disks[0].stream.root.as_mut().unwrap().id = "00".repeat(32);
    let (again, stats) = copy(&first, &second, &next, Some(&base)).await;
    assert_eq!((stats.read, stats.new), (content.len() as u64, 0));
    assert!(read_all(&second, disk(&again)).await.unwrap() == content);
}

/// What a second run does, from the lists of both vaults.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_copies_what_is_new() {
    let (_one, first, _) = memory_vault().await;
    let (_two, second, _) = memory_vault().await;
    let original = back_up(&first, &noise(8, MIB)).await;
    let (copied, _) = copy(&first, &second, &original, None).await;
    let change = [(0, noise(9, CHUNK_SIZE))];
    let next = next_point(&first, &original, MIB as u64, &change, &[]).await;
    let plan = async || {
        let here = first.points().await.unwrap().points;
        let (there, expired) = second.points_ever().await.unwrap();
        plan_copies(
            (first.id(), &here),
            (second.id(), &there.points, &expired),
            &CopyChoice::default(),
        )
    };
    let planned = plan().await;
    assert_eq!(planned.len(), 1);
    assert_eq!(
        (planned[0].point.id, planned[0].base),
        (next.id, Some(original.id))
    );
    second.expire(copied.id).await.unwrap();
    let planned = plan().await;
    assert_eq!(planned.len(), 1, "what has expired there stays away");
    assert_eq!((planned[0].point.id, planned[0].base), (next.id, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Any change of any size of disk, over any number of levels of the tree.
    #[test]
    fn a_copy_over_the_one_before_is_the_same(
        size in 1..9000_u64, grown in 0..300_000_u64,
        changes in prop::collection::btree_map(any::<u64>(), 0..4_u8, 0..12),
        first_data in 0..150_u64,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async move {
            let (_one, first, _) = memory_vault().await;
            let (_two, second, _) = memory_vault().await;
            let size = size.max(first_data + 1) * CHUNK;
            let session = begin(&first).await;
            let mut writer = session.stream(name("vda"), size, None).await.unwrap();
            let data = noise(first_data, (first_data * CHUNK) as usize);
            writer.write(0, data.into()).await.unwrap();
            let (stream, _) = writer.finish().await.unwrap();
            let original = point(session.id(), vec![stream]);
            session.commit(original.clone()).await.unwrap();
            let (copied, _) = copy(&first, &second, &original, None).await;

            let size = size + grown * CHUNK;
            let session = begin(&first).await;
            let base = Some(disk(&original));
            let mut writer = session.stream(name("vda"), size, base).await.unwrap();
            let mut places: Vec<_> = changes
                .into_iter()
                .map(|(at, kind)| (at % (size / CHUNK) * CHUNK, kind))
                .collect();
            places.sort_unstable();
            places.dedup_by_key(|(at, _)| *at);
            for (at, kind) in places {
                match kind {
                    0 => writer.zero(Extent { start: at, length: CHUNK }).await.unwrap(),
                    kind => {
                        let bytes = noise(u64::from(kind), CHUNK_SIZE);
                        writer.write(at, bytes.into()).await.unwrap();
                    }
                }
            }
            let (stream, _) = writer.finish().await.unwrap();
            let mut next = point(session.id(), vec![stream]);
            next.vm = original.vm;
            session.commit(next.clone()).await.unwrap();
            let base = Base { here: original, there: copied };
            let (again, _) = copy(&first, &second, &next, Some(&base)).await;
            let (here, there) = (first.reader(disk(&next)).unwrap(), second.reader(disk(&again)).unwrap());
            let whole = Extent::between(0, size);
            let extents = here.extents(whole).await.unwrap();
            assert_eq!(there.extents(whole).await.unwrap(), extents);
            for (extent, kind) in extents {
                if kind == tresor_vault::ExtentKind::Data {
                    let (at, len) = (extent.start, extent.length as usize);
                    assert!(here.read_at(at, len).await.unwrap() == there.read_at(at, len).await.unwrap());
                }
            }
        });
    }
}
