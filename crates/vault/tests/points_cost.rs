//! What it costs to know the points of a vault, which every backup asks for.

mod support;

use std::sync::Arc;

use support::{back_up, key, noise};
use tresor_backend::wrap::{Kept, Metered, Verb};
use tresor_backend::{Backend, MemoryBackend};
use tresor_vault::{CreateOptions, Vault};

/// With copies of the ends of sessions, the sixtieth backup asks the storage for as much as the
/// third to learn which point is the newest; without a copy it reads them all, once.
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_point_costs_the_same_however_many_there_are() {
    let store = Arc::new(Metered::new(MemoryBackend::new()));
    let copies = tempfile::tempdir().unwrap();
    let kept = |name: &str| -> Arc<dyn Backend> {
        let place = copies.path().join(name);
        Arc::new(Kept::new(store.clone(), place, &["sessions/"]))
    };
    let calls = || {
        let usage = store.snapshot();
        Verb::ALL.map(|verb| usage.of(verb).calls)
    };
    let options = CreateOptions::new(key());
    let (vault, _) = Vault::create(kept("here"), options).await.unwrap();
    let mut costs = Vec::new();
    for round in 0..60 {
        let point = back_up(&vault, &noise(round, 1 << 16)).await;
        let before = calls();
        let listed = vault.points().await.unwrap().points;
        assert!(listed.iter().any(|listed| listed.id == point.id));
        let after = calls();
        costs.push(
            before
                .iter()
                .zip(after)
                .map(|(before, after)| after - before)
                .sum::<u64>(),
        );
    }
    assert_eq!(costs[2], costs[59], "{costs:?}");

    let other = Vault::open(kept("elsewhere"), &key()).await.unwrap();
    let before = store.snapshot().of(Verb::Get).calls;
    for _ in 0..2 {
        assert_eq!(other.points().await.unwrap().points.len(), 60);
    }
    assert_eq!(
        store.snapshot().of(Verb::Get).calls - before,
        60,
        "each once"
    );
}
