//! How fast it is: to be looked at, not asserted.
//! `cargo test --release -p tresor-gateway -- --ignored --nocapture throughput`

use std::sync::Arc;
use std::time::Instant;

use tresor_backend::{Backend, MemoryBackend};
use tresor_gateway::Limits;

use crate::pair::{Service, backend_on, connect, object, open_gateway};
use crate::support::{self, noise};

#[expect(clippy::print_stdout, reason = "a measurement is to be seen")]
fn say(what: &str, bytes: u64, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what}: {:.0} MB/s", bytes as f64 / seconds / 1e6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn throughput() {
    let (gateway, _) = open_gateway(Arc::new(MemoryBackend::new()), Limits::default());
    let (connection, _) = connect(&gateway).await;
    let backend = Arc::new(backend_on(&connection).await);
    let pack = bytes::Bytes::from(noise(1, 32 << 20));
    let count = 32_u64;
    let size = count * pack.len() as u64;
    let begun = Instant::now();
    for at in 0..count {
        backend
            .put(&object(&format!("p{at}")), pack.clone())
            .await
            .unwrap();
    }
    say("puts of 32 MiB, one after the other", size, begun);
    let begun = Instant::now();
    for at in 0..count {
        backend
            .get(&object(&format!("p{at}")), u64::MAX)
            .await
            .unwrap();
    }
    say("gets of 32 MiB, one after the other", size, begun);
    let begun = Instant::now();
    for at in 0..2000_u64 {
        let start = (at % 30) << 20;
        let name = object(&format!("p{}", at % count));
        backend
            .get_range(&name, start..start + (1 << 20))
            .await
            .unwrap();
    }
    say("ranges of 1 MiB, one after the other", 2000 << 20, begun);

    let service = Service::new().await;
    let host = service.host("host7").await;
    let content = noise(2, 512 << 20);
    for (what, vault) in [
        ("the store itself", &service.owner),
        ("the gateway", &host.vault),
    ] {
        let begun = Instant::now();
        support::back_up(vault, &content).await;
        say(&format!("a backup to {what}"), content.len() as u64, begun);
    }
}
