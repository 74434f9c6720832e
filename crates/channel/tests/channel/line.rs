//! A line that outlives whoever talks over it, as a virtio-serial port does: closing it closes nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tresor_channel::{Connection, ErrorKind, Role};
use tresor_link_proto::{Link, Own};

use crate::pair::{HANGS, impatient, serve};

struct Line(UnixStream);

impl Line {
    /// The same line, opened by two, one after the other.
    fn twice(stream: UnixStream) -> (Self, Self) {
        let one = stream.into_std().unwrap();
        let other = one.try_clone().unwrap();
        let line = |stream| Self(UnixStream::from_std(stream).unwrap());
        (line(one), line(other))
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn say(link: &mut Link, stream: &mut UnixStream) {
    let mut out = Vec::new();
    link.output(&mut out, 100_000);
    stream.write_all(&out).await.unwrap();
}

/// An agent that greets, asks for something, and is killed: nothing of it is left but its bytes. With
/// `torn`, in the middle of a frame.
async fn short_life(far: &mut UnixStream, torn: bool) {
    let mut link = Link::new(Own::new(77, Role::Agent, &[Role::Service], "0.1.0"));
    let mut buffer = vec![0; 10_000];
    while link.peer().is_none() {
        say(&mut link, far).await;
        let got = far.read(&mut buffer).await.unwrap();
        link.receive(&buffer[..got]).unwrap();
    }
    say(&mut link, far).await;
    link.request("echo", &[b' '; 2000], false).unwrap();
    let mut out = Vec::new();
    link.output(&mut out, 10_000);
    let left = if torn { out.len() / 2 } else { out.len() };
    far.write_all(&out[..left]).await.unwrap();
}

/// An agent dies and starts again on the same line: the old session ends, and a new one opens behind
/// whatever the old one left.
#[tokio::test]
async fn a_peer_that_starts_again_is_met_again() {
    for torn in [false, true] {
        let (near, mut far) = UnixStream::pair().unwrap();
        let (first, second) = Line::twice(near);
        let opening = tokio::spawn(Connection::open(first, impatient(Role::Service)));
        short_life(&mut far, torn).await;
        let old = opening.await.unwrap().unwrap();
        let agent = tokio::spawn(Connection::open(far, impatient(Role::Agent)));
        let error = timeout(HANGS, old.ended()).await.unwrap();
        let expected = if torn {
            // Its rest never comes: what follows does not fit, or nothing follows for too long.
            [ErrorKind::Protocol, ErrorKind::Silent]
        } else {
            [ErrorKind::Restarted; 2]
        };
        assert!(expected.contains(&error.kind()), "{error:?}");
        let service = Connection::open(second, impatient(Role::Service)).await;
        let (service, agent) = (service.unwrap(), agent.await.unwrap().unwrap());
        serve(&service);
        let answer = timeout(HANGS, agent.call("echo", b"here again")).await;
        assert_eq!(answer.unwrap().unwrap().head, b"here again");
    }
}
