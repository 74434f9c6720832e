//! Against a server written to break the protocol in ways no real server does.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests"
)]

mod support;

use std::{future::Future, path::PathBuf};

use support::options;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};
use tresor_nbd::{Address, BASE_ALLOCATION, Client, ConnectOptions, Errno, ErrorKind};

const SIZE: u64 = 1 << 20;
const DONE: u16 = 1;
const ACK: u32 = 1;
const INFO: u32 = 3;
const META_CONTEXT: u32 = 4;
const UNSUPPORTED: u32 = 0x8000_0001;

/// A server for one connection, run by `script`, and the address to reach it.
fn serve<F, S>(script: S) -> (TempDir, Address)
where
    S: FnOnce(Evil) -> F + Send + 'static,
    F: Future<Output = std::io::Result<()>> + Send,
{
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = support::socket_in(dir.path());
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // The client hangs up on a violation: that the rest of the script fails is what is wanted.
        drop(script(Evil { stream }).await);
    });
    (dir, Address::Unix(path))
}

struct Evil {
    stream: UnixStream,
}

impl Evil {
    async fn greet(&mut self) -> std::io::Result<()> {
        self.stream.write_all(b"NBDMAGICIHAVEOPT\0\x03").await?;
        self.stream.read_u32().await.map(drop)
    }

    /// The next option of the client.
    async fn option(&mut self) -> std::io::Result<u32> {
        self.stream.read_u64().await?;
        let option = self.stream.read_u32().await?;
        let length = self.stream.read_u32().await?;
        self.stream
            .read_exact(&mut vec![0; length as usize])
            .await?;
        Ok(option)
    }

    async fn reply(&mut self, option: u32, kind: u32, data: &[u8]) -> std::io::Result<()> {
        self.announce(option, kind, data.len() as u32).await?;
        self.stream.write_all(data).await
    }

    async fn announce(&mut self, option: u32, kind: u32, length: u32) -> std::io::Result<()> {
        self.stream.write_u64(0x0003_e889_0455_65a9).await?;
        self.stream.write_u32(option).await?;
        self.stream.write_u32(kind).await?;
        self.stream.write_u32(length).await
    }

    async fn export(&mut self, size: u64, flags: u16) -> std::io::Result<()> {
        let data = [&[0, 0][..], &size.to_be_bytes(), &flags.to_be_bytes()].concat();
        self.reply(7, INFO, &data).await
    }

    /// A handshake without fault: structured replies, and `base:allocation` as context 5 when asked for.
    async fn agree(&mut self) -> std::io::Result<()> {
        self.greet().await?;
        loop {
            match self.option().await? {
                option @ 8 => self.reply(option, ACK, &[]).await?,
                option @ 10 => {
                    self.reply(
                        option,
                        META_CONTEXT,
                        &[&[0, 0, 0, 5], BASE_ALLOCATION.as_bytes()].concat(),
                    )
                    .await?;
                    self.reply(option, ACK, &[]).await?;
                }
                option @ 7 => {
                    self.export(SIZE, 1).await?;
                    return self.reply(option, ACK, &[]).await;
                }
                option => self.reply(option, UNSUPPORTED, &[]).await?,
            }
        }
    }

    /// The cookie of the next request.
    async fn request(&mut self) -> std::io::Result<u64> {
        let mut request = [0; 28];
        self.stream.read_exact(&mut request).await?;
        Ok(u64::from_be_bytes(request[8..16].try_into().unwrap()))
    }

    async fn chunk(
        &mut self,
        flags: u16,
        kind: u16,
        cookie: u64,
        length: u32,
        payload: &[u8],
    ) -> std::io::Result<()> {
        self.stream.write_u32(0x668e_33ef).await?;
        self.stream.write_u16(flags).await?;
        self.stream.write_u16(kind).await?;
        self.stream.write_u64(cookie).await?;
        self.stream.write_u32(length).await?;
        self.stream.write_all(payload).await
    }

    /// Keeps the connection open until the client leaves.
    async fn linger(&mut self) -> std::io::Result<()> {
        tokio::io::copy(&mut self.stream, &mut tokio::io::sink())
            .await
            .map(drop)
    }
}

/// A chunk with the length it announces.
#[derive(Clone)]
struct Chunk {
    flags: u16,
    kind: u16,
    length: u32,
    payload: Vec<u8>,
}

fn whole(flags: u16, kind: u16, payload: Vec<u8>) -> Chunk {
    Chunk {
        flags,
        kind,
        length: payload.len() as u32,
        payload,
    }
}

fn data(flags: u16, offset: u64, length: usize) -> Chunk {
    whole(
        flags,
        1,
        [&offset.to_be_bytes()[..], &vec![7; length]].concat(),
    )
}

fn hole(flags: u16, offset: u64, length: u32) -> Chunk {
    whole(
        flags,
        2,
        [&offset.to_be_bytes()[..], &length.to_be_bytes()].concat(),
    )
}

fn status(flags: u16, context: u32, extents: &[(u32, u32)]) -> Chunk {
    let mut payload = context.to_be_bytes().to_vec();
    extents.iter().for_each(|(length, flags)| {
        payload.extend([length.to_be_bytes(), flags.to_be_bytes()].concat());
    });
    whole(flags, 5, payload)
}

fn announced(kind: u16, length: u32) -> Chunk {
    Chunk {
        flags: DONE,
        kind,
        length,
        payload: Vec::new(),
    }
}

/// A client of a server that answers its first request with these chunks.
async fn answered_with(chunks: Vec<Chunk>) -> (TempDir, Client) {
    let (dir, address) = serve(|mut evil| async move {
        evil.agree().await?;
        let cookie = evil.request().await?;
        for chunk in chunks {
            evil.chunk(
                chunk.flags,
                chunk.kind,
                cookie,
                chunk.length,
                &chunk.payload,
            )
            .await?;
        }
        evil.linger().await
    });
    let client = Client::connect(&address, "", &options(1, &[BASE_ALLOCATION]))
        .await
        .unwrap();
    (dir, client)
}

#[tokio::test]
async fn chunks_that_break_the_rules_of_a_read_poison_the_connection() {
    let cases = [
        ("overlap", vec![data(0, 0, 1000), data(DONE, 999, 3097)]),
        ("twice", vec![hole(0, 0, 4096), data(DONE, 0, 4096)]),
        ("before the request", vec![data(DONE, u64::MAX, 4096)]),
        ("past the request", vec![data(DONE, 4095, 2)]),
        ("hole past the request", vec![hole(DONE, 0, u32::MAX)]),
        (
            "bytes missing",
            vec![data(0, 0, 4095), whole(DONE, 0, vec![])],
        ),
        ("nothing at all", vec![whole(DONE, 0, vec![])]),
        ("unknown chunk", vec![announced(77, 0)]),
        ("huge data", vec![announced(1, u32::MAX)]),
        ("huge error", vec![announced(0x8001, u32::MAX)]),
        ("hole of wrong length", vec![announced(2, u32::MAX)]),
        ("status for a read", vec![status(DONE, 5, &[(4096, 0)])]),
        (
            "error elsewhere",
            vec![whole(
                DONE,
                0x8002,
                [&[0, 0, 0, 5, 0, 0][..], &[0xff; 8]].concat(),
            )],
        ),
        ("error that is none", vec![whole(DONE, 0x8001, vec![0; 6])]),
        (
            "error text beyond its chunk",
            vec![whole(DONE, 0x8001, vec![0, 0, 0, 5, 0, 9, b'x'])],
        ),
    ];
    for (name, chunks) in cases {
        let (_dir, client) = answered_with(chunks).await;
        let (one, two) = tokio::join!(client.read(0, 4096), client.read(8192, 4096));
        assert_eq!(one.unwrap_err().kind(), ErrorKind::Protocol, "{name}");
        assert_eq!(
            two.unwrap_err().kind(),
            ErrorKind::Protocol,
            "{name}: outstanding with it"
        );
        assert_eq!(
            client.read(0, 1).await.unwrap_err().kind(),
            ErrorKind::Protocol,
            "{name}: afterwards"
        );
    }
}

#[tokio::test]
async fn extents_that_break_the_rules_of_a_status_poison_the_connection() {
    let cases = [
        ("unknown context", vec![status(DONE, 6, &[(4096, 0)])]),
        (
            "context twice",
            vec![status(0, 5, &[(4096, 0)]), status(DONE, 5, &[(4096, 0)])],
        ),
        ("context missing", vec![whole(DONE, 0, vec![])]),
        ("extent of nothing", vec![status(DONE, 5, &[(0, 0)])]),
        (
            "past the window",
            vec![status(DONE, 5, &[(4096, 0), (1, 0)])],
        ),
        ("huge", vec![announced(5, 4 + 8 * (1 << 28))]),
        ("no whole extents", vec![announced(5, 13)]),
        ("not agreed on", vec![announced(6, 24)]),
        ("data for a status", vec![data(DONE, 0, 4096)]),
    ];
    for (name, chunks) in cases {
        let (_dir, client) = answered_with(chunks).await;
        assert_eq!(
            client.block_status(0, 4096).await.unwrap_err().kind(),
            ErrorKind::Protocol,
            "{name}"
        );
        assert_eq!(
            client.read(0, 1).await.unwrap_err().kind(),
            ErrorKind::Protocol,
            "{name}: afterwards"
        );
    }
}

#[tokio::test]
async fn odd_but_lawful_answers_are_understood() {
    let (_dir, client) = answered_with(vec![
        hole(0, 96, 4000),
        data(0, 0, 96),
        whole(DONE, 0, vec![]),
    ])
    .await;
    let bytes = client.read(0, 4096).await.unwrap();
    assert!(bytes[..96].iter().all(|byte| *byte == 7) && bytes[96..].iter().all(|byte| *byte == 0));

    // An error type of a later protocol, after some data: the read failed, the connection did not.
    let later = whole(DONE, 0x8042, b"\0\0\0\x1c\0\x04full".to_vec());
    let (_dir, client) = answered_with(vec![data(0, 0, 96), later]).await;
    let error = client.read(0, 4096).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server(Errno::NoSpace));
    assert!(error.to_string().contains("full"), "{error}");
    assert_eq!(client.connections(), 1);

    // The last extent may reach beyond what was asked for.
    let (_dir, client) = answered_with(vec![status(DONE, 5, &[(1024, 0), (1 << 20, 3)])]).await;
    let run = client
        .block_status(0, 4096)
        .await
        .unwrap()
        .remove(BASE_ALLOCATION)
        .unwrap();
    assert_eq!(
        run.iter().map(|extent| extent.length).collect::<Vec<_>>(),
        [1024, 3072]
    );
}

#[tokio::test]
async fn replies_to_nothing_poison_the_connection() {
    let (_dir, address) = serve(|mut evil| async move {
        evil.agree().await?;
        let cookie = evil.request().await?;
        evil.chunk(DONE, 0, cookie ^ 0xff00, 0, &[]).await?;
        evil.linger().await
    });
    let client = Client::connect(&address, "", &options(1, &[]))
        .await
        .unwrap();
    assert_eq!(
        client.read(0, 512).await.unwrap_err().kind(),
        ErrorKind::Protocol
    );
}

#[tokio::test]
async fn a_server_that_vanishes_amid_a_chunk_loses_the_read() {
    let (_dir, address) = serve(|mut evil| async move {
        evil.agree().await?;
        let cookie = evil.request().await?;
        evil.chunk(DONE, 1, cookie, 8 + 4096, &[0; 1000]).await
    });
    let client = Client::connect(&address, "", &options(1, &[]))
        .await
        .unwrap();
    assert_eq!(
        client.read(0, 4096).await.unwrap_err().kind(),
        ErrorKind::ConnectionLost
    );
}

#[tokio::test]
async fn a_server_that_stops_amid_a_chunk_is_given_up() {
    let (_dir, address) = serve(|mut evil| async move {
        evil.agree().await?;
        let cookie = evil.request().await?;
        evil.chunk(DONE, 1, cookie, 8 + 4096, &[0; 1000]).await?;
        evil.linger().await
    });
    let limits = ConnectOptions {
        request_limit: std::time::Duration::from_millis(100),
        ..options(1, &[])
    };
    let client = Client::connect(&address, "", &limits).await.unwrap();
    assert_eq!(
        client.read(0, 4096).await.unwrap_err().kind(),
        ErrorKind::LimitPassed
    );
}

/// What connecting says of a server that answers the options from go on by `script`.
async fn refused_at_go<F>(script: impl FnOnce(Evil) -> F + Send + 'static) -> ErrorKind
where
    F: Future<Output = std::io::Result<()>> + Send,
{
    let (_dir, address) = serve(|mut evil| async move {
        evil.greet().await?;
        loop {
            match evil.option().await? {
                7 => return script(evil).await,
                option => evil.reply(option, UNSUPPORTED, &[]).await?,
            }
        }
    });
    Client::connect(&address, "", &options(1, &[]))
        .await
        .expect_err("such a server is refused")
        .kind()
}

#[tokio::test]
async fn handshakes_that_break_the_rules_are_refused() {
    let huge = refused_at_go(|mut evil| async move {
        evil.announce(7, INFO, u32::MAX).await?;
        evil.linger().await
    });
    assert_eq!(
        huge.await,
        ErrorKind::Protocol,
        "announced 4 GiB of information"
    );
    let other = refused_at_go(|mut evil| async move { evil.reply(8, ACK, &[]).await });
    assert_eq!(other.await, ErrorKind::Protocol, "reply to another option");
    let nothing = refused_at_go(|mut evil| async move { evil.reply(7, ACK, &[]).await });
    assert_eq!(nothing.await, ErrorKind::Protocol, "no size");
    let negative = refused_at_go(|mut evil| async move {
        evil.export(u64::MAX, 1).await?;
        evil.reply(7, ACK, &[]).await
    });
    assert_eq!(
        negative.await,
        ErrorKind::Protocol,
        "size beyond any offset"
    );
    let endless = refused_at_go(|mut evil| async move {
        loop {
            evil.export(SIZE, 1).await?;
        }
    });
    assert_eq!(endless.await, ErrorKind::Protocol, "replies without end");
    let later = refused_at_go(|mut evil| async move {
        evil.reply(7, 0x8000_4242, b"not today").await?;
        evil.linger().await
    });
    assert_eq!(
        later.await,
        ErrorKind::Refused,
        "an error of a later protocol"
    );
}

#[tokio::test]
async fn a_greeting_of_something_else_is_refused() {
    let (_dir, address) = serve(|mut evil| async move {
        evil.stream
            .write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian")
            .await?;
        evil.linger().await
    });
    let error = Client::connect(&address, "", &options(1, &[]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}
