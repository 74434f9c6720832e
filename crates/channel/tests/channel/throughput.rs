//! How fast it is: to be looked at, not asserted.
//! `cargo test --release -p tresor-channel -- --ignored --nocapture throughput`

use std::time::Instant;

use tokio::net::UnixStream;
use tresor_channel::{Connection, Request, Role};

use crate::pair::{options, tcp};

const PIECE: usize = 1 << 20;
const PIECES: usize = 2048;

async fn count(request: Request) {
    let Request {
        mut body, reply, ..
    } = request;
    let mut len = 0;
    while let Some(data) = body.read().await.unwrap() {
        len += data.len();
    }
    reply.json(&len).unwrap();
}

#[expect(clippy::print_stdout, reason = "a measurement is to be seen")]
async fn measure(name: &str, service: Connection, host: Connection) {
    tokio::spawn(async move { service.serve(count).await });
    let piece = vec![7; PIECE];
    let begun = Instant::now();
    let mut call = host.call_with_body("count", b"").await.unwrap();
    for _ in 0..PIECES {
        call.body.write(&piece).await.unwrap();
    }
    let len: usize = call.finish().await.unwrap().json().unwrap();
    assert_eq!(len, PIECE * PIECES);
    let rate = len as f64 / begun.elapsed().as_secs_f64() / 1e6;
    println!("{name}: one body up, {rate:.0} MB/s");
    let begun = Instant::now();
    for _ in 0..20_000 {
        host.call_with_body("count", b"")
            .await
            .unwrap()
            .finish()
            .await
            .unwrap();
    }
    let rate = 20_000.0 / begun.elapsed().as_secs_f64();
    println!("{name}: one call after another, {rate:.0} calls/s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn throughput() {
    let (near, far) = UnixStream::pair().unwrap();
    let (service, host) = tokio::join!(
        Connection::open(near, options(Role::Service)),
        Connection::open(far, options(Role::Host))
    );
    measure("unix socket", service.unwrap(), host.unwrap()).await;
    let (near, far) = tcp().await;
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let (service, host) = tokio::join!(
        Connection::open(near, options(Role::Service)),
        Connection::open(far, options(Role::Host))
    );
    measure("TCP loopback", service.unwrap(), host.unwrap()).await;
}
