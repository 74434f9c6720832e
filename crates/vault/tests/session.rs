//! Sessions: who wins, what a dead one leaves, what is refused.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use support::{CHUNK, begin, memory_vault, name, noise, point, read_all, write_all};
use tresor_backend::wrap::{Fault, Faulty, Verb};
use tresor_backend::{Backend, MemoryBackend, ObjectName};
use tresor_model::{Extent, SessionId};
use tresor_vault::{CHUNK_SIZE, Ended, ErrorKind, SessionOptions, Vault, verify_objects};

async fn small_packs(vault: &Vault) -> tresor_vault::WriteSession {
    let mut options = SessionOptions::new(SessionId::generate());
    options.pack_size = 2 * CHUNK_SIZE;
    options.tree_pack_size = 1;
    vault.begin_session(options).await.unwrap()
}

async fn names(backend: &MemoryBackend, prefix: &str) -> Vec<String> {
    let listed = backend.list(prefix).await.unwrap();
    listed
        .into_iter()
        .map(|meta| meta.name.as_str().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_packs_and_checkpoints_make_one_point() {
    let (backend, vault, _) = memory_vault().await;
    let session = small_packs(&vault).await;
    let content = noise(1, 40 << 20);
    let (disk, stats) = write_all(&session, "vda", &content, None, 1 << 20)
        .await
        .unwrap();
    assert_eq!(stats.new, 40 << 20);
    let id = session.id();
    session.commit(point(id, vec![disk.clone()])).await.unwrap();
    assert!(names(&backend, "packs/").await.len() > 40);
    assert!(read_all(&vault, &disk).await.unwrap() == content);
    let report = verify_objects(backend.clone() as _, |_| ()).await.unwrap();
    assert_eq!((report.damaged, report.open_sessions), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_session_stored_is_not_stored_again() {
    let (backend, vault, _) = memory_vault().await;
    let content = noise(2, 32 << 20);
    let dead = small_packs(&vault).await;
    let dead_id = dead.id();
    write_all(&dead, "vda", &content, None, 1 << 20)
        .await
        .unwrap();
    drop(dead);
    // A run that was not yet put, or was lost, costs nothing: the packs say what they hold.
    for run in names(&backend, "index/").await {
        backend
            .delete(&ObjectName::new(run).unwrap())
            .await
            .unwrap();
    }
    let stored = names(&backend, "packs/").await.len() as u64;
    assert!(stored > 20);
    let session = begin(&vault).await;
    let (disk, stats) = write_all(&session, "vda", &content, None, 1 << 20)
        .await
        .unwrap();
    assert!(
        stats.new <= (32 << 20) - (stored - 10) * (1 << 20),
        "{stats:?} after {stored} packs"
    );
    let id = session.id();
    session.commit(point(id, vec![disk.clone()])).await.unwrap();
    assert_eq!(
        vault.abort_session(dead_id).await.unwrap(),
        Ended::AbortedNow
    );
    assert!(read_all(&vault, &disk).await.unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_once() {
    let (_backend, vault, _) = memory_vault().await;
    let session = begin(&vault).await;
    let id = session.id();
    let (disk, _) = write_all(&session, "vda", &noise(3, 100_000), None, CHUNK_SIZE)
        .await
        .unwrap();
    assert_eq!(vault.abort_session(id).await.unwrap(), Ended::AbortedNow);
    assert_eq!(vault.abort_session(id).await.unwrap(), Ended::WasAborted);
    let lost = session.commit(point(id, vec![disk])).await.unwrap_err();
    assert_eq!(*lost.kind(), ErrorKind::SessionLost { session: id });
    assert!(vault.points().await.unwrap().points.is_empty());
    let missing = vault.point(id.into()).await.unwrap_err();
    assert_eq!(
        *missing.kind(),
        ErrorKind::PointNotFound { point: id.into() }
    );

    let session = begin(&vault).await;
    let id = session.id();
    session.commit(point(id, Vec::new())).await.unwrap();
    assert_eq!(vault.abort_session(id).await.unwrap(), Ended::WasCommitted);
    let again = vault
        .begin_session(SessionOptions::new(id))
        .await
        .err()
        .unwrap();
    assert_eq!(*again.kind(), ErrorKind::SessionExists { session: id });
}

/// The storage took the commit, but its answer was lost: the second try finds the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_a_commit() {
    let (backend, vault, _) = memory_vault().await;
    drop(vault);
    let fault = Fault::new(tresor_backend::ErrorKind::Unavailable);
    let fault = fault.on(Verb::Put).named(".end").calls(0..1).after_effect();
    let flaky = Arc::new(Faulty::new(Arc::clone(&backend), vec![fault]));
    let vault = Vault::open(flaky, &support::key()).await.unwrap();
    let session = begin(&vault).await;
    let id = session.id();
    session.commit(point(id, Vec::new())).await.unwrap();
    assert_eq!(vault.points().await.unwrap().points.len(), 1);
}

/// A full storage is the first error; the session stays failed and nothing is committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_storage_fails_the_session_with_its_cause() {
    let (backend, vault, _) = memory_vault().await;
    drop(vault);
    let fault = Fault::new(tresor_backend::ErrorKind::Full)
        .on(Verb::Put)
        .named("packs/");
    let full = Arc::new(Faulty::new(Arc::clone(&backend), vec![fault]));
    let vault = Vault::open(full, &support::key()).await.unwrap();
    let session = small_packs(&vault).await;
    let id = session.id();
    let content = noise(5, 16 << 20);
    let error = match write_all(&session, "vda", &content, None, 1 << 20).await {
        Err(error) => error,
        Ok((disk, _)) => session.commit(point(id, vec![disk])).await.unwrap_err(),
    };
    assert_eq!(*error.kind(), ErrorKind::SessionFailed);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("packs/"), "{cause}");
    assert!(vault.points().await.unwrap().points.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_with_plans_is_not_written() {
    let (backend, vault, _) = memory_vault().await;
    backend
        .put(
            &ObjectName::new("plans/1").unwrap(),
            Bytes::from_static(b"x"),
        )
        .await
        .unwrap();
    let refused = vault
        .begin_session(SessionOptions::new(SessionId::generate()))
        .await;
    let found = ErrorKind::VersionUnknown {
        object: "plans/1".to_owned(),
        found: 2,
    };
    assert_eq!(*refused.err().unwrap().kind(), found);
}

#[tokio::test(flavor = "multi_thread")]
async fn misuse_is_refused() {
    let (_backend, vault, _) = memory_vault().await;
    let session = begin(&vault).await;
    let mut writer = session
        .stream(name("vda"), 10 * CHUNK + 5, None)
        .await
        .unwrap();
    let chunk = Bytes::from(vec![1; CHUNK_SIZE]);
    let is_misuse = |error: tresor_vault::Error| matches!(error.kind(), ErrorKind::Misuse { .. });
    assert!(is_misuse(writer.write(1, chunk.clone()).await.unwrap_err()));
    assert!(is_misuse(
        writer.write(0, chunk.slice(..9)).await.unwrap_err()
    ));
    assert!(is_misuse(
        writer.write(10 * CHUNK, chunk.clone()).await.unwrap_err()
    ));
    writer.write(2 * CHUNK, chunk.clone()).await.unwrap();
    assert!(is_misuse(writer.write(CHUNK, chunk).await.unwrap_err()));
    writer
        .zero(Extent::between(3 * CHUNK, 10 * CHUNK + 5))
        .await
        .unwrap();
    let id = session.id();
    let open = session.commit(point(id, Vec::new())).await.unwrap_err();
    assert!(is_misuse(open), "a stream is open");
    drop(writer);
}

/// I9: one chunk changed on a disk of 1 TiB costs a few kilobytes of manifest.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_change_on_a_large_disk_costs_little() {
    let (_backend, vault, _) = memory_vault().await;
    let size = 1 << 40;
    let mut base = None;
    for (round, offset) in [(0, 0), (1, 700 << 30), (2, (700 << 30) + CHUNK)] {
        let session = begin(&vault).await;
        let mut writer = session
            .stream(name("vda"), size, base.as_ref())
            .await
            .unwrap();
        writer
            .write(offset, Bytes::from(noise(round, CHUNK_SIZE)))
            .await
            .unwrap();
        let (record, stats) = writer.finish().await.unwrap();
        assert!(stats.stored < CHUNK + 1500, "{stats:?}");
        let id = session.id();
        session
            .commit(point(id, vec![record.clone()]))
            .await
            .unwrap();
        base = Some(record);
    }
    let reader = vault.reader(&base.unwrap()).unwrap();
    let data = reader.extents(Extent::between(0, size)).await.unwrap();
    assert_eq!(data.len(), 4);
    let two = reader.read_at(700 << 30, 2 * CHUNK_SIZE).await.unwrap();
    assert!(two[..CHUNK_SIZE] == noise(1, CHUNK_SIZE) && two[CHUNK_SIZE..] == noise(2, CHUNK_SIZE));
}
