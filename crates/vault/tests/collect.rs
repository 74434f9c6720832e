//! Collect on a real directory, with real tasks: what it frees, and what runs beside it.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use support::{CHUNK, eager, key, noise, point, read_all, write_all};
use tresor_backend::{Backend as _, LocalBackend};
use tresor_model::{RecoveryPoint, SessionId, StreamRecord};
use tresor_vault::{
    CHUNK_SIZE, CollectReport, CreateOptions, Ended, ErrorKind, SessionOptions, Vault,
    WriteSession, verify_objects,
};

async fn vault_in(dir: &Path) -> Vault {
    let place = LocalBackend::create(&dir.join("vault")).await.unwrap();
    let options = CreateOptions::new(key());
    Vault::create(Arc::new(place), options).await.unwrap().0
}

async fn open(dir: &Path) -> Vault {
    let place = LocalBackend::open(&dir.join("vault")).await.unwrap();
    Vault::open(Arc::new(place), &key()).await.unwrap()
}

async fn begin(vault: &Vault) -> WriteSession {
    let mut options = SessionOptions::new(SessionId::generate());
    options.pack_size = 1 << 20;
    options.tree_pack_size = 64 << 10;
    vault.begin_session(options).await.unwrap()
}

async fn back_up(vault: &Vault, content: &[u8], base: Option<&StreamRecord>) -> RecoveryPoint {
    let session = begin(vault).await;
    let written = write_all(&session, "vda", content, base, 1 << 20).await;
    let point = point(session.id(), vec![written.unwrap().0]);
    session.commit(point.clone()).await.unwrap();
    point
}

async fn collect(vault: &Vault) -> CollectReport {
    vault.collect(&eager(), |_| ()).await.unwrap()
}

async fn content_of(vault: &Vault, point: &RecoveryPoint) -> Vec<u8> {
    read_all(vault, &point.disks[0].stream).await.unwrap()
}

async fn check(dir: &Path) {
    let place = LocalBackend::open(&dir.join("vault")).await.unwrap();
    let report = verify_objects(Arc::new(place), |_| ()).await.unwrap();
    assert_eq!(report.damaged, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_an_expired_point_used_is_freed() {
    let dir = tempfile::tempdir().unwrap();
    let vault = vault_in(dir.path()).await;
    let old = back_up(&vault, &noise(1, 8 << 20), None).await;
    let kept_content = noise(2, 8 << 20);
    let kept = back_up(&vault, &kept_content, None).await;
    let before = vault.usage().await.unwrap();
    vault.expire(old.id).await.unwrap();
    let planned = vault.plan_collect(&eager(), |_| ()).await.unwrap();
    // The state that ends it, and the mark.
    assert_eq!(vault.usage().await.unwrap().objects, before.objects + 2);
    let report = collect(&vault).await;
    assert_eq!(report.choice, Some(planned.clone()));
    assert!(
        planned.dead_bytes > 8 << 20 && planned.points == 1,
        "{planned:?}"
    );
    let after = vault.usage().await.unwrap();
    assert!(before.bytes - after.bytes > 8 << 20, "{after:?}");
    assert!(content_of(&open(dir.path()).await, &kept).await == kept_content);
    assert_eq!(vault.sessions().await.unwrap().len(), 1);
    check(dir.path()).await;
    let idle = collect(&vault).await;
    assert_eq!(
        (idle.collected, idle.choice.unwrap().is_empty()),
        (None, true)
    );
    assert!(back_up(&vault, &kept_content, None).await.disks.len() == 1);
}

/// Every other chunk of what was stored first dies: its packs are rewritten, and readers, writers
/// and later collects find what was in them by ids.
#[tokio::test(flavor = "multi_thread")]
async fn sparse_packs_are_rewritten_and_hints_to_them_still_lead_somewhere() {
    let dir = tempfile::tempdir().unwrap();
    let vault = vault_in(dir.path()).await;
    let first = noise(3, 8 << 20);
    let old = back_up(&vault, &first, None).await;
    let mut content = first.clone();
    for at in (0..content.len()).step_by(2 * CHUNK_SIZE) {
        content[at..at + CHUNK_SIZE].copy_from_slice(&noise(at as u64 + 9, CHUNK_SIZE));
    }
    let mut point = back_up(&vault, &content, Some(&old.disks[0].stream)).await;
    let mut before = point.clone();
    for round in 0..4_u64 {
        vault
            .expire(if round == 0 { old.id } else { before.id })
            .await
            .unwrap();
        let report = collect(&vault).await;
        let choice = report.choice.unwrap();
        assert!(choice.sparse_packs > 0, "{round}: {choice:?}");
        check(dir.path()).await;
        // A reader that knows nothing, and one whose caches are warm.
        assert!(content_of(&open(dir.path()).await, &point).await == content);
        assert!(content_of(&vault, &point).await == content);
        // An increment that touches one chunk in each of a few leaves.
        for leaf in 0..2 {
            let at = (leaf << 22) + usize::try_from(2 * round + 1).unwrap() * CHUNK_SIZE;
            content[at..at + CHUNK_SIZE].copy_from_slice(&noise(round + 77, CHUNK_SIZE));
        }
        let vault = open(dir.path()).await;
        before = point;
        let session = begin(&vault).await;
        let base = &before.disks[0].stream;
        let mut writer = session
            .stream(support::name("vda"), base.size, Some(base))
            .await
            .unwrap();
        for leaf in 0..2 {
            let at = (leaf << 22) + (2 * round + 1) * CHUNK;
            let bytes = bytes::Bytes::from(noise(round + 77, CHUNK_SIZE));
            writer.write(at, bytes).await.unwrap();
        }
        let (record, stats) = writer.finish().await.unwrap();
        assert!(stats.stored < 300_000, "{stats:?}");
        point = support::point(session.id(), vec![record]);
        session.commit(point.clone()).await.unwrap();
        assert!(content_of(&vault, &point).await == content);
    }
    let again = back_up(&vault, &content, None).await;
    assert_eq!(
        again.disks[0].stream.root.as_ref().unwrap().id,
        point.disks[0].stream.root.as_ref().unwrap().id
    );
}

/// A writer that sleeps while it is aborted and its objects are deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_comes_back_late_has_lost() {
    let dir = tempfile::tempdir().unwrap();
    let vault = vault_in(dir.path()).await;
    let asleep = begin(&vault).await;
    let id = asleep.id();
    let written = write_all(&asleep, "vda", &noise(4, 4 << 20), None, 1 << 20).await;
    let (record, _) = written.unwrap();
    // Packs are sent while the writer goes on.
    let place = LocalBackend::open(&dir.path().join("vault")).await.unwrap();
    while place.list("packs/").await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It may commit yet: its packs are let be, and nothing is waited for when there is no plan.
    let choice = collect(&vault).await.choice.unwrap();
    assert!(choice.busy_packs > 0 && choice.is_empty(), "{choice:?}");
    let gone = back_up(&vault, &noise(5, 4 << 20), None).await;
    vault.expire(gone.id).await.unwrap();
    let report = collect(&vault).await;
    assert_eq!(report.collected.unwrap().waiting, [id]);
    let mut hasty = eager();
    hasty.margin = Duration::ZERO;
    let report = vault.collect(&hasty, |_| ()).await.unwrap();
    assert_eq!(report.resumed.unwrap().aborted, [id]);
    // Its packs are dead now, and its objects went with the second plan.
    assert!(report.collected.unwrap().deleted_packs > 0);
    assert!(vault.sessions().await.unwrap().is_empty());
    let lost = asleep.commit(point(id, vec![record])).await.unwrap_err();
    assert_eq!(*lost.kind(), ErrorKind::SessionLost { session: id });
    assert!(vault.points().await.unwrap().points.is_empty());
    assert!(vault.sessions().await.unwrap().is_empty());
    assert_eq!(vault.abort_session(id).await.unwrap(), Ended::AbortedNow);
    collect(&vault).await;
    check(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_gone_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let vault = vault_in(dir.path()).await;
    let old = back_up(&vault, &noise(6, 4 << 20), None).await;
    vault.expire(old.id).await.unwrap();
    // While a plan that drops it is in effect …
    let other = begin(&vault).await;
    assert_eq!(
        collect(&vault).await.collected.unwrap().waiting,
        [other.id()]
    );
    let refused = async || {
        let session = begin(&vault).await;
        let base = &old.disks[0].stream;
        let stream = session
            .stream(support::name("vda"), base.size, Some(base))
            .await;
        let error = stream.err().unwrap();
        session.abort().await.unwrap();
        assert!(
            matches!(error.kind(), ErrorKind::BaseGone { .. }),
            "{error}"
        );
    };
    refused().await;
    // … and when it is done.
    other.abort().await.unwrap();
    collect(&vault).await;
    refused().await;
}

/// Writers, restores and collectors at once, for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn collect_runs_beside_everything() {
    let dir = tempfile::tempdir().unwrap();
    let vault = vault_in(dir.path()).await;
    let still_content = noise(100, 6 << 20);
    let still = back_up(&vault, &still_content, None).await;
    let writer = async |seed: u64| {
        let vault = open(dir.path()).await;
        let mut content = noise(seed, 3 << 20);
        let mut last: Option<RecoveryPoint> = None;
        for round in 0..8_u64 {
            let at = usize::try_from(round % 5).unwrap() * 3 * CHUNK_SIZE;
            content[at..at + CHUNK_SIZE].copy_from_slice(&noise(seed + round, CHUNK_SIZE));
            let base = last.as_ref().map(|last| &last.disks[0].stream);
            let made = back_up(&vault, &content, base).await;
            if let Some(last) = last {
                vault.expire(last.id).await.unwrap();
            }
            assert!(content_of(&vault, &made).await == content, "{seed} {round}");
            last = Some(made);
        }
        (last.unwrap(), content)
    };
    let reader = async || {
        for _ in 0..12 {
            let vault = open(dir.path()).await;
            assert!(content_of(&vault, &still).await == still_content);
        }
    };
    let collector = async || {
        let vault = open(dir.path()).await;
        for _ in 0..6 {
            collect(&vault).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (one, two, (), (), ()) =
        tokio::join!(writer(1), writer(2000), reader(), collector(), collector());
    while !collect(&vault)
        .await
        .choice
        .is_some_and(|choice| choice.is_empty())
    {}
    for (point, content) in [one, two] {
        assert!(content_of(&open(dir.path()).await, &point).await == content);
    }
    check(dir.path()).await;
}
