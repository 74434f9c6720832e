//! What was written is what is read, whatever the order of data, zeros and bases.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod support;

use bytes::Bytes;
use proptest::prelude::*;
use support::{CHUNK, back_up, begin, key, memory_vault, name, noise, point, read_all, write_all};
use tresor_model::{Extent, StreamRecord};
use tresor_vault::{CHUNK_SIZE, ErrorKind, ExtentKind, KeyMaterial, Vault};

#[tokio::test(flavor = "multi_thread")]
async fn a_point_is_read_back_after_opening_with_each_key() {
    let (backend, vault, recovery) = memory_vault().await;
    let content = noise(1, 5 * (1 << 20) + 777);
    let point = back_up(&vault, &content).await;
    let typed = KeyMaterial::Recovery(recovery.to_text().into());
    let in_file = KeyMaterial::KeyFile(recovery.to_text().into_bytes().into());
    let phrase = KeyMaterial::Passphrase("correct horse".to_owned().into());
    vault.add_key_slot(&phrase, "alice").await.unwrap();
    for key in [key(), typed, in_file, phrase] {
        let vault = Vault::open(backend.clone(), &key).await.unwrap();
        let listed = vault.points().await.unwrap();
        assert_eq!((listed.points.len(), listed.damaged.len()), (1, 0));
        assert_eq!(listed.points[0].id, point.id);
        let stored = vault.point(point.id).await.unwrap();
        assert_eq!(stored, point);
        assert_eq!(
            read_all(&vault, &stored.disks[0].stream).await.unwrap(),
            content
        );
    }
    let wrong = KeyMaterial::Passphrase("correct house".to_owned().into());
    let refused = Vault::open(backend, &wrong).await.err().unwrap();
    assert_eq!(*refused.kind(), ErrorKind::KeyRejected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vault_has_is_not_stored_again() {
    let (backend, vault, _) = memory_vault().await;
    let content = noise(2, 8 << 20);
    let first = back_up(&vault, &content).await;
    let session = begin(&vault).await;
    let (again, stats) = write_all(&session, "vda", &content, None, 1 << 20)
        .await
        .unwrap();
    assert_eq!((stats.read, stats.new), (8 << 20, 0));
    assert_eq!(
        again.root.as_ref().unwrap().id,
        first.disks[0].stream.root.as_ref().unwrap().id
    );
    let twice = [content.clone(), content].concat();
    let (record, stats) = write_all(&session, "vdb", &twice, None, 64 << 10)
        .await
        .unwrap();
    assert_eq!(stats.new, 0);
    let id = session.id();
    session
        .commit(point(id, vec![again, record.clone()]))
        .await
        .unwrap();
    assert_eq!(read_all(&vault, &record).await.unwrap(), twice);
    drop(backend);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_chunks_of_one_session_are_stored_once() {
    let (backend, vault, _) = memory_vault().await;
    let content = noise(4, CHUNK_SIZE).repeat(200);
    let session = begin(&vault).await;
    let (one, two) = tokio::join!(
        write_all(&session, "vda", &content, None, 1 << 20),
        write_all(&session, "vdb", &content, None, 1 << 20),
    );
    let ((vda, first), (vdb, second)) = (one.unwrap(), two.unwrap());
    assert_eq!(first.new + second.new, CHUNK);
    let id = session.id();
    session
        .commit(point(id, vec![vda.clone(), vdb]))
        .await
        .unwrap();
    assert_eq!(read_all(&vault, &vda).await.unwrap(), content);
    drop(backend);
}

#[tokio::test(flavor = "multi_thread")]
async fn re_reading_an_unchanged_disk_keeps_its_tree() {
    let (backend, vault, _) = memory_vault().await;
    let content = noise(3, 9 << 20);
    let first = back_up(&vault, &content).await;
    let base = &first.disks[0].stream;
    let session = begin(&vault).await;
    let (record, stats) = write_all(&session, "vda", &content, Some(base), 1 << 20)
        .await
        .unwrap();
    assert_eq!(record.root, base.root);
    assert_eq!((stats.new, stats.stored), (0, 0));
    let id = session.id();
    session
        .commit(point(id, vec![record.clone()]))
        .await
        .unwrap();
    assert_eq!(read_all(&vault, &record).await.unwrap(), content);
    drop(backend);
}

/// One step of writing a stream, in chunks.
#[derive(Debug, Clone)]
enum Step {
    Skip(u64),
    Data { seed: u64, chunks: u64, alike: bool },
    Zero(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0_u64..200).prop_map(Step::Skip),
        (0_u64..4, 1_u64..24, any::<bool>()).prop_map(|(seed, chunks, alike)| Step::Data {
            seed,
            chunks,
            alike
        }),
        (1_u64..300).prop_map(Step::Zero),
    ];
    prop::collection::vec(step, 0..8)
}

/// Does the same to the stream and to plain bytes.
async fn apply(
    vault: &Vault,
    model: &mut [u8],
    steps: &[Step],
    base: Option<&StreamRecord>,
) -> StreamRecord {
    let session = begin(vault).await;
    let size = model.len() as u64;
    let mut writer = session.stream(name("vda"), size, base).await.unwrap();
    let mut at = 0_u64;
    for step in steps {
        let chunks = match step {
            Step::Skip(chunks) | Step::Zero(chunks) | Step::Data { chunks, .. } => chunks * CHUNK,
        };
        let extent = Extent {
            start: at,
            length: chunks,
        }
        .intersect(&Extent::between(0, size));
        if extent.is_empty() {
            break;
        }
        let range = at as usize..extent.end() as usize;
        match step {
            Step::Skip(_) => {}
            Step::Zero(_) => {
                model[range].fill(0);
                writer.zero(extent).await.unwrap();
            }
            Step::Data { seed, alike, .. } => {
                let len = extent.length as usize;
                let bytes = if *alike {
                    noise(*seed, CHUNK_SIZE).repeat(24)[..len].to_vec()
                } else {
                    noise(seed + 100, len)
                };
                model[range].copy_from_slice(&bytes);
                writer.write(at, Bytes::from(bytes)).await.unwrap();
            }
        }
        at = extent.end();
    }
    let (record, _) = writer.finish().await.unwrap();
    let id = session.id();
    session
        .commit(point(id, vec![record.clone()]))
        .await
        .unwrap();
    record
}

async fn check(vault: &Vault, model: &[u8], record: &StreamRecord, window: (u64, u64)) {
    assert!(read_all(vault, record).await.unwrap() == model, "fetch");
    let reader = vault.reader(record).unwrap();
    let size = model.len() as u64;
    let window = Extent::between(window.0 % (size + 1), (window.0 + window.1) % (size + 1));
    let part = reader
        .read_at(window.start, window.length as usize)
        .await
        .unwrap();
    assert!(
        part == model[window.start as usize..window.end() as usize],
        "read_at {window:?}"
    );
    let mut fetch = reader.fetch(window, 2);
    let mut cut = vec![0; window.length as usize];
    while let Some(piece) = fetch.next().await {
        let piece = piece.unwrap();
        let at = (piece.offset - window.start) as usize;
        cut[at..at + piece.bytes.len()].copy_from_slice(&piece.bytes);
    }
    assert!(cut == part, "fetch of a window");
    let extents = reader.extents(Extent::between(0, size)).await.unwrap();
    assert_eq!(
        extents.iter().map(|(extent, _)| extent.length).sum::<u64>(),
        size
    );
    for (extent, kind) in extents {
        let bytes = &model[extent.start as usize..extent.end() as usize];
        if kind == ExtentKind::Zero {
            assert!(bytes.iter().all(|byte| *byte == 0));
        } else {
            assert!(
                bytes
                    .chunks(CHUNK_SIZE)
                    .all(|chunk| chunk.iter().any(|byte| *byte != 0))
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_is_what_was_written_over_its_bases(
        size in prop_oneof![0_u64..300_000, 0_u64..20_000_000],
        rounds in prop::collection::vec(steps(), 1..4),
        window in (any::<u32>(), any::<u32>()),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (_backend, vault, _) = memory_vault().await;
            let mut model = vec![0; size as usize];
            let mut history: Vec<(Vec<u8>, StreamRecord)> = Vec::new();
            for steps in &rounds {
                let base = history.last().map(|(_, record)| record);
                let record = apply(&vault, &mut model, steps, base).await;
                history.push((model.clone(), record));
            }
            for (model, record) in &history {
                check(&vault, model, record, (window.0.into(), window.1.into())).await;
            }
        });
    }
}

/// An expired point is neither listed nor given, and the others stay.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_point_is_gone_from_lists() {
    let (_, vault, _) = memory_vault().await;
    let old = back_up(&vault, &noise(1, 1 << 20)).await;
    let new = back_up(&vault, &noise(2, 1 << 20)).await;
    vault.expire(old.id).await.unwrap();
    vault.expire(old.id).await.unwrap();
    let listed = vault.points().await.unwrap().points;
    let listed: Vec<_> = listed.iter().map(|point| point.id).collect();
    assert_eq!(listed, [new.id]);
    let error = vault.point(old.id).await.unwrap_err();
    let expired = ErrorKind::PointExpired { point: old.id };
    assert_eq!(*error.kind(), expired, "{error}");
    let unknown = vault
        .expire(tresor_model::SessionId::generate().into())
        .await;
    let unknown = unknown.unwrap_err();
    assert!(matches!(unknown.kind(), ErrorKind::PointNotFound { .. }));
    assert_eq!(vault.point(new.id).await.unwrap(), new);
}
