//! Against nbdkit: servers with fewer features, with faults, and servers that die.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests"
)]

mod support;

use std::{sync::Arc, time::Duration};

use support::{MIB, nbdkit, options};
use tresor_nbd::{Address, BASE_ALLOCATION, Client, ConnectOptions, Errno, ErrorKind};

/// The pattern plugin: each 8 bytes hold their own offset.
fn expected(offset: u64, length: u64) -> Vec<u8> {
    (offset..offset + length)
        .map(|at| (at & !7).to_be_bytes()[(at % 8) as usize])
        .collect()
}

#[tokio::test]
async fn without_structured_replies_reads_work_and_contexts_are_unknown() {
    let server = nbdkit(&["--no-sr", "pattern", "size=40M"]).await;
    let client = server.connect("", &options(2, &[])).await.unwrap();
    let (one, two, three) = tokio::join!(
        client.read(3, 70_000),
        client.read(0, 40 * MIB),
        client.read(39 * MIB, 1 << 20)
    );
    assert_eq!(one.unwrap(), expected(3, 70_000));
    assert_eq!(two.unwrap(), expected(0, 40 * MIB));
    assert_eq!(three.unwrap(), expected(39 * MIB, MIB));
    client.disconnect().await.unwrap();

    let unknown = server
        .connect("", &options(1, &[BASE_ALLOCATION]))
        .await
        .unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::ContextUnknown);
}

#[tokio::test]
async fn the_block_sizes_of_the_server_are_kept() {
    let limits = [
        "blocksize-minimum=4096",
        "blocksize-preferred=65536",
        "blocksize-maximum=131072",
        "blocksize-error-policy=error",
    ];
    let server = nbdkit(
        &[
            &["--filter=blocksize-policy", "pattern", "size=1M"][..],
            &limits,
        ]
        .concat(),
    )
    .await;
    let client = server
        .connect("", &options(1, &[BASE_ALLOCATION]))
        .await
        .unwrap();
    let sizes = client.info().block_sizes;
    assert_eq!(
        (sizes.minimum, sizes.preferred, sizes.maximum),
        (4096, 65536, 131_072)
    );
    assert_eq!(
        client.read(5000, 300_000).await.unwrap(),
        expected(5000, 300_000)
    );
    assert_eq!(
        client.map(100, 5000).await.unwrap()[BASE_ALLOCATION]
            .iter()
            .map(|e| e.length)
            .sum::<u64>(),
        5000
    );
}

#[tokio::test]
async fn an_export_that_is_no_whole_number_of_sectors_is_read_to_its_end() {
    let server = nbdkit(&["pattern", "size=100001"]).await;
    let client = server.connect("", &options(1, &[])).await.unwrap();
    assert_eq!(client.read(99_999, 2).await.unwrap(), expected(99_999, 2));
    assert_eq!(client.read(0, 100_001).await.unwrap(), expected(0, 100_001));
}

#[tokio::test]
async fn a_failed_read_leaves_the_connection_sound() {
    for structured in [&["--no-sr"][..], &[]] {
        let fault = [
            "--filter=error",
            "pattern",
            "size=1M",
            "error-pread=EIO",
            "error-pread-rate=50%",
        ];
        let server = nbdkit(&[structured, &fault].concat()).await;
        let client = server.connect("", &options(1, &[])).await.unwrap();
        let (mut good, mut bad) = (0, 0);
        for turn in 0..200 {
            match client.read(turn * 4096, 4096).await {
                Ok(data) => {
                    assert_eq!(data, expected(turn * 4096, 4096));
                    good += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Server(Errno::Io), "{error}");
                    bad += 1;
                }
            }
        }
        assert!(good > 0 && bad > 0, "{good} good, {bad} bad");
        client.disconnect().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_amid_reads_fails_them_all() {
    let mut server = nbdkit(&["--filter=delay", "pattern", "size=64M", "rdelay=600"]).await;
    let client = Arc::new(server.connect("", &options(1, &[])).await.unwrap());
    let reads: Vec<_> = (0..100)
        .map(|turn| {
            let client = Arc::clone(&client);
            tokio::spawn(async move { client.read(turn * 4096, 4096).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.kill();
    for read in reads {
        assert_eq!(
            read.await.unwrap().unwrap_err().kind(),
            ErrorKind::ConnectionLost
        );
    }
    assert_eq!(
        client.read(0, 1).await.unwrap_err().kind(),
        ErrorKind::ConnectionLost
    );
    assert_eq!(client.connections(), 0);
    assert!(client.disconnect().await.is_err());
}

#[tokio::test]
async fn reads_that_are_dropped_do_not_disturb_the_others() {
    let server = nbdkit(&["--filter=delay", "pattern", "size=64M", "rdelay=5ms"]).await;
    let client = server.connect("", &options(1, &[])).await.unwrap();
    for turn in 0..200_u64 {
        let offset = turn * 65_536;
        // Some are dropped before they are sent, some in flight, some while their answer arrives.
        let limit = Duration::from_micros(turn * 60);
        drop(tokio::time::timeout(limit, client.read(offset, 200_000)).await);
        if turn % 10 == 0 {
            assert_eq!(
                client.read(offset + 1, 9000).await.unwrap(),
                expected(offset + 1, 9000)
            );
        }
    }
    client.disconnect().await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let server = nbdkit(&["--filter=delay", "pattern", "size=1M", "rdelay=600"]).await;
    let options = ConnectOptions {
        request_limit: Duration::from_millis(200),
        ..options(1, &[])
    };
    let client = server.connect("", &options).await.unwrap();
    let (one, two) = tokio::join!(client.read(0, 512), client.read(512, 512));
    assert_eq!(one.unwrap_err().kind(), ErrorKind::LimitPassed);
    assert_eq!(two.unwrap_err().kind(), ErrorKind::LimitPassed);
    assert_eq!(
        client.read(0, 512).await.unwrap_err().kind(),
        ErrorKind::LimitPassed
    );
}

#[tokio::test]
async fn an_address_where_nobody_listens_cannot_be_connected_to() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Address::Unix(support::socket_in(dir.path()));
    let error = Client::connect(&nobody, "", &options(1, &[]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn a_server_that_demands_tls_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys.psk");
    std::fs::write(&keys, "alice:00112233445566778899aabbccddeeff\n").unwrap();
    let keys = format!("--tls-psk={}", support::text(&keys));
    let server = nbdkit(&["--tls=require", &keys, "pattern", "size=1M"]).await;
    for contexts in [&[][..], &[BASE_ALLOCATION]] {
        let error = server.connect("", &options(1, contexts)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TlsRequired, "{error}");
    }
}

#[tokio::test]
async fn tcp_carries_the_same_session() {
    let server = nbdkit(&["pattern", "size=8M"]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = support::socket_in(server.dir());
    // A relay rather than nbdkit's own port: only a port bound by ourselves is surely free.
    let relay = tokio::spawn(async move {
        let (mut outside, _) = listener.accept().await.unwrap();
        let mut inside = tokio::net::UnixStream::connect(socket).await.unwrap();
        tokio::io::copy_bidirectional(&mut outside, &mut inside)
            .await
            .unwrap();
    });
    let address = Address::Tcp {
        host: "127.0.0.1".into(),
        port,
    };
    let client = Client::connect(&address, "", &options(1, &[]))
        .await
        .unwrap();
    assert_eq!(client.read(0, 8 * MIB).await.unwrap(), expected(0, 8 * MIB));
    client.disconnect().await.unwrap();
    relay.await.unwrap();
}
