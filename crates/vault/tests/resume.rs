//! A first backup that was cut off goes on: what its packs hold is not sent again. And what one VM
//! has stored, its clones do not.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod support;

use std::sync::Arc;

use support::{CHUNK, key, memory_vault, name, noise, point, read_all, write_all};
use tresor_backend::wrap::{Fault, Faulty, Metered, Verb};
use tresor_backend::{Backend, ErrorKind as StorageKind, MemoryBackend};
use tresor_model::{Extent, SessionId};
use tresor_vault::{CHUNK_SIZE, SessionOptions, Vault};

const MIB: usize = 1 << 20;
const SIZE: usize = 48 * MIB;

/// Packs of a MiB: a first backup of 48 MiB is like one of 1.5 TiB with the usual ones.
fn options() -> SessionOptions {
    let mut options = SessionOptions::new(SessionId::generate());
    options.pack_size = MIB;
    options.tree_pack_size = 4096;
    options
}

/// A first backup whose storage goes away after so many packs, as a kill would have it: nothing is
/// ended, nothing is told.
async fn cut_off(backend: &Arc<MemoryBackend>, content: &[u8], packs: u64) {
    let gone = |named| {
        Fault::new(StorageKind::Denied)
            .on(Verb::Put)
            .named(named)
            .calls(packs..u64::MAX)
    };
    let ends = Fault::new(StorageKind::Denied).on(Verb::Put).named(".end");
    let faults = vec![gone("packs/"), ends];
    let vault = Vault::open(Arc::new(Faulty::new(backend.clone(), faults)), &key()).await;
    let session = vault.unwrap().begin_session(options()).await.unwrap();
    let written = write_all(&session, "vda", content, None, MIB).await;
    if let Ok((disk, _)) = written {
        session
            .commit(point(SessionId::generate(), vec![disk]))
            .await
            .unwrap_err();
    }
}

async fn bytes_of(backend: &MemoryBackend, prefix: &str) -> u64 {
    let listed = backend.list(prefix).await.unwrap();
    listed.iter().map(|meta| meta.size).sum()
}

/// Wherever it is cut off, between two index runs too, and when no index run is left at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_backup_sends_the_rest() {
    for (packs, indexed) in [
        (1, true),
        (7, true),
        (9, true),
        (20, true),
        (33, true),
        (33, false),
    ] {
        let case = format!("after {packs} packs, index {indexed}");
        let (backend, vault, _) = memory_vault().await;
        drop(vault);
        let content = noise(packs, SIZE);
        cut_off(&backend, &content, packs).await;
        if !indexed {
            for run in backend.list("index/").await.unwrap() {
                backend.delete(&run.name).await.unwrap();
            }
        }
        let there = bytes_of(&backend, "packs/").await;
        let number = backend.list("packs/").await.unwrap().len() as u64;
        assert!(number >= packs, "{case}: {number}");

        let store = Arc::new(Metered::new(backend.clone()));
        let vault = Vault::open(store.clone(), &key()).await.unwrap();
        let session = vault.begin_session(options()).await.unwrap();
        let learning = store.snapshot();
        let read = learning.of(Verb::GetRange);
        assert!(
            read.calls <= 4 * number,
            "{case}: {read:?} for {number} packs"
        );
        assert!(
            read.bytes <= 8192 * number,
            "{case}: footers only: {read:?}"
        );
        let (disk, stats) = write_all(&session, "vda", &content, None, MIB)
            .await
            .unwrap();
        let id = session.id();
        session.commit(point(id, vec![disk.clone()])).await.unwrap();
        let sent = store.snapshot().of(Verb::Put).bytes;
        let rest = SIZE as u64 - there;
        // Manifest and index are a hundredth of it.
        assert!(
            sent <= rest + SIZE as u64 / 50,
            "{case}: {sent} sent, {rest} were missing"
        );
        assert!(stats.new <= rest + CHUNK * number, "{case}: {stats:?}");
        assert!(read_all(&vault, &disk).await.unwrap() == content, "{case}");
    }
}

/// A dead session after the other: each goes on where the last one stopped.
#[tokio::test(flavor = "multi_thread")]
async fn many_short_tries_are_one_backup() {
    let (backend, vault, _) = memory_vault().await;
    drop(vault);
    let content = noise(77, SIZE);
    for _ in 0..5 {
        cut_off(&backend, &content, 8).await;
    }
    let there = bytes_of(&backend, "packs/").await;
    assert!(there >= 5 * 8 * MIB as u64 * 9 / 10, "{there}");
    assert!(
        there <= SIZE as u64 * 11 / 10,
        "nothing is stored twice: {there}"
    );
    let vault = Vault::open(backend.clone(), &key()).await.unwrap();
    let session = vault.begin_session(options()).await.unwrap();
    let (disk, stats) = write_all(&session, "vda", &content, None, MIB)
        .await
        .unwrap();
    assert!(stats.new < 10 * MIB as u64, "{stats:?}");
    let id = session.id();
    session.commit(point(id, vec![disk.clone()])).await.unwrap();
    assert!(read_all(&vault, &disk).await.unwrap() == content);
}

/// Two VMs from one image: the second one's first backup sends what it has of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_clone_sends_what_is_its_own() {
    let (backend, vault, _) = memory_vault().await;
    drop(vault);
    let store = Arc::new(Metered::new(backend));
    let vault = Vault::open(store.clone(), &key()).await.unwrap();
    let image = noise(5, 32 * MIB);
    let backup = async |content: &[u8], disk: &str, size: u64| {
        let before = store.snapshot().of(Verb::Put).bytes;
        let session = vault.begin_session(options()).await.unwrap();
        let mut writer = session.stream(name(disk), size, None).await.unwrap();
        for (number, part) in (0..).zip(content.chunks(MIB)) {
            writer
                .write(number * MIB as u64, part.to_vec().into())
                .await
                .unwrap();
        }
        let hole = Extent::between(content.len() as u64, size);
        if !hole.is_empty() {
            writer.zero(hole).await.unwrap();
        }
        let (stream, stats) = writer.finish().await.unwrap();
        let id = session.id();
        session
            .commit(point(id, vec![stream.clone()]))
            .await
            .unwrap();
        let sent = store.snapshot().of(Verb::Put).bytes - before;
        (stream, stats, sent)
    };
    backup(&image, "vda", image.len() as u64).await;
    // The clone has a larger disk, another host name, and a log.
    let mut clone = image.clone();
    clone[3 * MIB..3 * MIB + CHUNK_SIZE].copy_from_slice(&noise(6, CHUNK_SIZE));
    clone[20 * MIB..21 * MIB].copy_from_slice(&noise(7, MIB));
    let (stream, stats, sent) = backup(&clone, "system", 64 * MIB as u64).await;
    let own = MIB as u64 + CHUNK;
    assert_eq!(stats.new, own);
    assert!(sent < own + 100_000, "{sent} sent for {own}");
    let read = vault
        .reader(&stream)
        .unwrap()
        .read_at(0, clone.len())
        .await
        .unwrap();
    assert!(read == clone);
}
