use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tresor_channel::{Connection, ErrorKind, Limits, Role, failures};

use crate::pair::{HANGS, body, byte_at, options, pair, pair_with, serve, tcp};

#[tokio::test]
async fn calls_are_answered_in_both_directions() {
    let (service, host) = pair().await;
    serve(&host);
    assert_eq!(service.peer().role, Role::Host);
    for connection in [&service, &host] {
        let answer = connection.call("echo", b"hello").await.unwrap();
        assert_eq!(answer.head, b"hello");
        let empty = answer.body.read_to_end(0).await.unwrap();
        assert!(empty.is_empty());
    }
}

#[tokio::test]
async fn calls_go_over_tcp() {
    let (near, far) = tcp().await;
    let (service, host) = tokio::join!(
        Connection::open(near, options(Role::Service)),
        Connection::open(far, options(Role::Host))
    );
    let (service, host) = (service.unwrap(), host.unwrap());
    serve(&service);
    let sum: (usize, bool) = take(&host, 3 << 20).await.unwrap();
    assert_eq!(sum, (3 << 20, true));
    let given = give(&host, 3 << 20).await.unwrap();
    assert!(given == body(3 << 20));
}

pub(crate) async fn take(
    connection: &Connection,
    len: usize,
) -> Result<(usize, bool), tresor_channel::Error> {
    let mut call = connection.call_with_body("take", b"{}").await?;
    for at in (0..len).step_by(70_001) {
        let piece: Vec<u8> = (at..len.min(at + 70_001)).map(byte_at).collect();
        call.body.write(&piece).await?;
    }
    call.finish().await?.json()
}

pub(crate) async fn give(
    connection: &Connection,
    len: usize,
) -> Result<Vec<u8>, tresor_channel::Error> {
    let head = serde_json::to_vec(&len).unwrap();
    let answer = connection.call("give", &head).await?;
    answer.body.read_to_end(len).await
}

#[tokio::test]
async fn failures_say_what_they_are() {
    let (_service, host) = pair().await;
    let error = host.call("refuse", b"").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let failure = error.failure().unwrap();
    assert_eq!(failure.code, "VaultStorageFull");
    assert_eq!(failure.fields["location"], "/vault");
    let error = host.call("no-such", b"").await.unwrap_err();
    assert_eq!(error.failure().unwrap().code, failures::METHOD_UNKNOWN);
    let error = host.call("half", b"").await.unwrap();
    let error = error.body.read_to_end(5000).await.unwrap_err();
    assert_eq!(error.failure().unwrap().code, "DiskReadFailed");
    let error = host.call("panic", b"").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let error = host.call("echo", &[0; 100_000]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    // None of them was the end of the connection.
    assert_eq!(host.call("echo", b"1").await.unwrap().head, b"1");
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_body_ends_the_call() {
    let (_service, host) = pair().await;
    let mut call = host.call_with_body("early", b"").await.unwrap();
    let error = loop {
        if let Err(error) = call.body.write(&[0; 50_000]).await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::NotWanted);
    assert_eq!(call.finish().await.unwrap().head, b"enough");
    let other = host.call_with_body("refuse", b"").await.unwrap();
    let error = other.finish().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
}

/// Streams that nobody reads, next to one that somebody does.
#[tokio::test]
async fn slow_streams_hold_up_nobody() {
    let (_service, host) = pair().await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        slow.push(host.call("give", b"10000000").await.unwrap());
    }
    for _ in 0..5 {
        assert!(give(&host, 2 << 20).await.unwrap() == body(2 << 20));
        assert_eq!(take(&host, 2 << 20).await.unwrap(), (2 << 20, true));
    }
    // What was slow is whole all the same.
    let last = slow.pop().unwrap();
    assert!(last.body.read_to_end(10_000_000).await.unwrap() == body(10_000_000));
}

/// More calls than the other end allows at once wait for their place.
#[tokio::test]
async fn calls_beyond_the_limit_wait() {
    let mut service = options(Role::Service);
    service.limits = Limits {
        streams: 4,
        ..Limits::SMALL
    };
    let (_service, host) = pair_with(service, options(Role::Host)).await;
    let calls: Vec<_> = (0..200_u32)
        .map(|at| {
            let host = host.clone();
            tokio::spawn(async move {
                let head = at.to_le_bytes();
                assert_eq!(host.call("echo", &head).await.unwrap().head, head);
                assert_eq!(take(&host, 100_000).await.unwrap(), (100_000, true));
            })
        })
        .collect();
    for call in calls {
        timeout(HANGS, call).await.unwrap().unwrap();
    }
}

/// A caller that gives up is seen by the handler: its future is dropped. The place is free again.
#[tokio::test]
async fn cancellation_travels() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let (near, far) = UnixStream::pair().unwrap();
    let mut tight = options(Role::Service);
    tight.limits.streams = 2;
    let (service, host) = tokio::join!(
        Connection::open(near, tight),
        Connection::open(far, options(Role::Host))
    );
    let (service, host) = (service.unwrap(), host.unwrap());
    let running = Arc::new(AtomicUsize::new(0));
    let begun = Arc::new(tokio::sync::Semaphore::new(0));
    let (counter, signal) = (Arc::clone(&running), Arc::clone(&begun));
    tokio::spawn(async move {
        let handler = |request: tresor_channel::Request| {
            counter.fetch_add(1, Ordering::SeqCst);
            signal.add_permits(1);
            let counted = Counted(Arc::clone(&counter));
            async move {
                let _held = (request, counted);
                std::future::pending::<()>().await;
            }
        };
        service.serve(handler).await;
    });
    for _ in 0..50 {
        let call = host.call("wait", b"");
        tokio::select! {
            _ = call => panic!("nobody answers"),
            permit = begun.acquire() => permit.unwrap().forget(),
        }
    }
    // With two places, the fiftieth was taken only because the ones before were given back.
    timeout(HANGS, async {
        while running.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

/// Half a body is never taken for a whole one.
#[tokio::test]
async fn a_body_that_is_dropped_is_not_a_body_that_ended() {
    let (near, far) = UnixStream::pair().unwrap();
    let (service, host) = tokio::join!(
        Connection::open(near, options(Role::Service)),
        Connection::open(far, options(Role::Host))
    );
    let (service, host) = (service.unwrap(), host.unwrap());
    let mut call = host.call_with_body("take", b"").await.unwrap();
    call.body.write(b"first half").await.unwrap();
    let mut request = service.accept().await.unwrap();
    let data = request.body.read().await.unwrap();
    assert_eq!(data.unwrap(), b"first half");
    drop(call.body);
    let error = request.body.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let error = call.answer.get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

/// What an earlier peer left on a line is passed over, and so is a login prompt.
#[tokio::test]
async fn a_line_with_something_on_it_is_opened() {
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"Debian GNU/Linux 13 web01 ttyS0\r\n\r\nweb01 login: \xf5TRL")
        .await
        .unwrap();
    let (service, host) = tokio::join!(
        Connection::open(near, options(Role::Service)),
        Connection::open(far, options(Role::Agent))
    );
    let (service, host) = (service.unwrap(), host.unwrap());
    serve(&service);
    assert_eq!(host.call("echo", b"1").await.unwrap().head, b"1");
}
