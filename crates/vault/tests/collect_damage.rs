//! Plans of collect that are damaged: nothing is deleted by them, and nobody's data is lost.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use support::{back_up, eager, key, noise, read_all};
use tresor_backend::{Backend, MemoryBackend, ObjectName};
use tresor_model::{RecoveryPoint, SessionId};
use tresor_vault::{CHUNK_SIZE, SessionOptions, Vault, verify_objects};

/// A vault whose plan waits for a session; the plan before it has moved parts of the point.
struct Sample {
    objects: Vec<(ObjectName, Bytes)>,
    kept: RecoveryPoint,
    content: Vec<u8>,
}

async fn sample() -> Sample {
    let (backend, vault, _) = support::memory_vault().await;
    let mut content = noise(1, 2 << 20);
    let old = back_up(&vault, &content).await;
    for at in (0..content.len()).step_by(4 * CHUNK_SIZE) {
        content[at..at + CHUNK_SIZE].copy_from_slice(&noise(at as u64 + 2, CHUNK_SIZE));
    }
    let kept = back_up(&vault, &content).await;
    vault.expire(old.id).await.unwrap();
    let report = vault.collect(&eager(), |_| ()).await.unwrap();
    assert!(report.choice.unwrap().sparse_packs > 0);
    let dead = back_up(&vault, &noise(2, 1 << 20)).await;
    vault.expire(dead.id).await.unwrap();
    let _open = support::begin(&vault).await;
    let report = vault.collect(&eager(), |_| ()).await.unwrap();
    assert_eq!(report.collected.unwrap().waiting.len(), 1);
    let mut objects = Vec::new();
    for meta in backend.list("").await.unwrap() {
        let body = backend.get(&meta.name, u64::MAX).await.unwrap();
        objects.push((meta.name, body));
    }
    Sample {
        objects,
        kept,
        content,
    }
}

/// Flipped, cut, gone.
fn damages(good: &Bytes) -> [Option<Bytes>; 3] {
    let mut flipped = good.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let cut = good.slice(..good.len() - 5);
    [Some(flipped.into()), Some(cut), None]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_plan_is_named_and_deletes_nothing() {
    let sample = sample().await;
    let plans = sample.objects.iter();
    let plans = plans.filter(|(name, _)| name.as_str().starts_with("plans/"));
    let mut seen = 0;
    for (object, good) in plans {
        for damage in damages(good) {
            seen += 1;
            let gone = damage.is_none();
            let backend = Arc::new(MemoryBackend::new());
            for (name, body) in &sample.objects {
                let body = match name == object {
                    true => damage.clone(),
                    false => Some(body.clone()),
                };
                if let Some(body) = body {
                    backend.put(name, body).await.unwrap();
                }
            }
            let vault = Vault::open(backend.clone() as _, &key()).await.unwrap();
            let what = format!("{} gone: {gone}", object.as_str());
            // The list, and keyless verification.
            assert_eq!(vault.points().await.unwrap().damaged.len(), 0, "{what}");
            let report = verify_objects(backend.clone() as _, |_| ()).await.unwrap();
            let named = report
                .damaged
                .iter()
                .any(|found| found.object == object.as_str());
            assert!(named || gone, "{what}: {report:?}");
            // A writer goes on, or says what keeps it from that.
            let begun = vault
                .begin_session(SessionOptions::new(SessionId::generate()))
                .await;
            if let Err(error) = begun {
                assert!(error.to_string().contains("plans/"), "{what}: {error}");
            }
            let mut hasty = eager();
            hasty.margin = Duration::ZERO;
            match vault.collect(&hasty, |_| ()).await {
                Ok(_) => {}
                Err(error) => assert!(
                    error.to_string().contains("is damaged")
                        || error.to_string().contains("plans/"),
                    "{what}: {error}"
                ),
            }
            // Whatever happened: what is kept is there, or what cannot be found is named.
            let vault = Vault::open(backend.clone() as _, &key()).await.unwrap();
            match read_all(&vault, &sample.kept.disks[0].stream).await {
                Ok(read) => assert!(read == sample.content, "{what}"),
                Err(error) => {
                    assert!(object.as_str().contains('-'), "{what}: {error}");
                    assert!(error.to_string().contains("packs/"), "{what}: {error}");
                }
            }
        }
    }
    assert!(seen >= 9, "{seen}");
}
