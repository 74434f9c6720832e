//! The cache of the index: what it saves, and that it can never harm.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use support::{key, memory_vault, noise, point, write_all};
use tresor_backend::wrap::{Metered, Verb};
use tresor_backend::{Backend, MemoryBackend, ObjectName};
use tresor_model::{SessionId, StreamRecord};
use tresor_vault::{CreateOptions, SessionOptions, StreamStats, Vault};

/// A session with this cache, which stores `content` and commits.
async fn back_up(
    vault: &Vault,
    cache: &Path,
    content: &[u8],
    base: Option<&StreamRecord>,
) -> (StreamRecord, StreamStats) {
    let mut options = SessionOptions::new(SessionId::generate());
    options.index_cache = Some(cache.to_owned());
    let session = vault.begin_session(options).await.unwrap();
    let written = write_all(&session, "vda", content, base, 1 << 20).await;
    let (disk, stats) = written.unwrap();
    let point = point(session.id(), vec![disk.clone()]);
    session.commit(point).await.unwrap();
    (disk, stats)
}

fn tables(cache: &Path) -> Vec<PathBuf> {
    let vault = fs::read_dir(cache).unwrap().next().unwrap().unwrap().path();
    let files = fs::read_dir(vault)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "table"))
        .collect()
}

/// The sixtieth backup asks the storage for as much as the third.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_reads_only_what_is_new_since_the_last() {
    let backend = Arc::new(Metered::new(MemoryBackend::new()));
    let place: Arc<dyn Backend> = Arc::clone(&backend) as _;
    let (vault, _) = Vault::create(place, CreateOptions::new(key()))
        .await
        .unwrap();
    let cache = tempfile::tempdir().unwrap();
    let calls = || {
        let usage = backend.snapshot();
        let gets = usage.of(Verb::Get).calls + usage.of(Verb::GetRange).calls;
        (gets, usage.of(Verb::Put).calls, usage.of(Verb::List).calls)
    };
    let mut costs = Vec::new();
    for round in 0..60 {
        let before = calls();
        back_up(&vault, cache.path(), &noise(round, 1 << 20), None).await;
        let now = calls();
        costs.push((now.0 - before.0, now.1 - before.1, now.2 - before.2));
    }
    assert_eq!(costs[2], costs[59], "{costs:?}");
    assert!(
        tables(cache.path()).len() <= 8,
        "{:?}",
        tables(cache.path())
    );
}

/// With a cache, a lost or a damaged one: what is there is not stored again, and reads back.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_damaged_cache_is_made_anew() {
    let (_, vault, _) = memory_vault().await;
    let cache = tempfile::tempdir().unwrap();
    let content = noise(1, 8 << 20);
    let (_, first) = back_up(&vault, cache.path(), &content, None).await;
    assert_eq!(first.new, 8 << 20);
    for damage in ["none", "lost", "cut", "state", "foreign"] {
        let vault_dir = fs::read_dir(cache.path()).unwrap().next();
        let vault_dir = vault_dir.map(|entry| entry.unwrap().path());
        match (damage, vault_dir) {
            ("lost", Some(dir)) => fs::remove_dir_all(dir).unwrap(),
            ("cut", Some(_)) => tables(cache.path())
                .iter()
                .for_each(|table| fs::write(table, b"short").unwrap()),
            ("state", Some(dir)) => fs::write(dir.join("state"), b"{").unwrap(),
            ("foreign", Some(dir)) => fs::write(dir.join("x.table"), b"left by a crash").unwrap(),
            _ => {}
        }
        let (disk, again) = back_up(&vault, cache.path(), &content, None).await;
        assert_eq!(again.new, 0, "{damage}");
        assert!(support::read_all(&vault, &disk).await.unwrap() == content);
        assert!(!cache.path().join("x.table").exists());
    }
}

/// A block that rots in the cache costs a second copy, never a point that cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotten_cache_gives_no_wrong_place() {
    let (_, vault, _) = memory_vault().await;
    let cache = tempfile::tempdir().unwrap();
    let content = noise(2, 16 << 20);
    back_up(&vault, cache.path(), &content, None).await;
    back_up(&vault, cache.path(), &noise(3, 1 << 20), None).await;
    let largest = tables(cache.path())
        .into_iter()
        .max_by_key(|table| fs::metadata(table).unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    bytes[100] ^= 1; // in the first block
    fs::write(&largest, bytes).unwrap();
    let (disk, again) = back_up(&vault, cache.path(), &content, None).await;
    assert!(again.new > 0, "the chunks of the block are stored again");
    assert!(support::read_all(&vault, &disk).await.unwrap() == content);
    let (_, next) = back_up(&vault, cache.path(), &content, None).await;
    assert_eq!(next.new, 0, "the cache was made anew");
}

/// Packs that were lost are stored again, whatever the cache says.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_does_not_vouch_for_a_pack_that_is_gone() {
    let (backend, vault, _) = memory_vault().await;
    let cache = tempfile::tempdir().unwrap();
    let content = noise(4, 4 << 20);
    back_up(&vault, cache.path(), &content, None).await;
    back_up(&vault, cache.path(), &noise(5, 1 << 20), None).await;
    for pack in backend.list("packs/").await.unwrap() {
        let name = ObjectName::new(pack.name.as_str().to_owned()).unwrap();
        backend.delete(&name).await.unwrap();
    }
    let (disk, again) = back_up(&vault, cache.path(), &content, None).await;
    assert_eq!(again.new, 4 << 20);
    assert!(support::read_all(&vault, &disk).await.unwrap() == content);
}

/// Two sessions at once share a cache; what one of them holds does not stop the other.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_at_once_share_a_cache() {
    let (_, vault, _) = memory_vault().await;
    let cache = tempfile::tempdir().unwrap();
    back_up(&vault, cache.path(), &noise(6, 4 << 20), None).await;
    let contents: Vec<_> = (10..14).map(|seed| noise(seed, 2 << 20)).collect();
    let all = contents
        .iter()
        .map(|content| back_up(&vault, cache.path(), content, None));
    for ((disk, _), content) in futures::future::join_all(all).await.iter().zip(&contents) {
        assert!(support::read_all(&vault, disk).await.unwrap() == *content);
    }
    let (_, again) = back_up(&vault, cache.path(), &contents[0], None).await;
    assert_eq!(again.new, 0);
}
