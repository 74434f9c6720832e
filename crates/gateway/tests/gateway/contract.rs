//! The contract of a backend, as far as it is that of an append-only store, over a real channel.

use std::sync::Arc;

use tresor_backend::contract::append_only_suite;
use tresor_backend::{Backend, LocalBackend, MemoryBackend, ObjectName};
use tresor_gateway::Limits;

use crate::pair::{backend_on, connect, open_gateway};

const MIB: usize = 1 << 20;

async fn examine(store: impl Backend + 'static, limits: Limits, big_len: usize) {
    let (gateway, _) = open_gateway(Arc::new(store), limits);
    let (connection, _) = connect(&gateway).await;
    let backend = Arc::new(backend_on(&connection).await);
    let area = ObjectName::new("examined").unwrap();
    if let Err(broken) = append_only_suite(backend, &area, big_len).await {
        panic!("{broken}: {:?}", std::error::Error::source(&broken));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_front_of_memory() {
    examine(MemoryBackend::new(), Limits::default(), 64 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_front_of_a_local_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalBackend::open(dir.path()).await.unwrap();
    examine(store, Limits::default(), 64 * MIB).await;
}

/// Whoever has little room waits for it, and gets through all the same.
#[tokio::test(flavor = "multi_thread")]
async fn with_room_for_one_call_and_one_object() {
    let limits = Limits {
        calls: 1,
        lists: 1,
        in_flight: 5 << 20,
        ..Limits::default()
    };
    examine(MemoryBackend::new(), limits, 5 * MIB).await;
}
