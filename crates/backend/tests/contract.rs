//! The contract on every backend and wrapper.
#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

use std::sync::Arc;

use tresor_backend::contract::suite;
use tresor_backend::sim::{Plan, SimFs};
use tresor_backend::{Backend, LocalBackend, MemoryBackend, ObjectName};

const MIB: usize = 1 << 20;

async fn examine(backend: impl Backend + 'static, big_len: usize) {
    let area = ObjectName::new("examined").unwrap();
    if let Err(broken) = suite(Arc::new(backend), &area, big_len).await {
        panic!("{broken}: {:?}", std::error::Error::source(&broken));
    }
}

#[tokio::test]
async fn memory() {
    examine(MemoryBackend::new(), 64 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local_directory() {
    let dir = tempfile::tempdir().unwrap();
    examine(LocalBackend::open(dir.path()).await.unwrap(), 64 * MIB).await;
}

#[tokio::test]
async fn local_on_a_simulated_disk() {
    for seed in 0..4 {
        let fs = SimFs::new(seed, Plan::default().interleave(3));
        examine(LocalBackend::on(fs), 3 * MIB).await;
    }
}
