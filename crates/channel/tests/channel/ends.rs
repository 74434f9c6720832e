use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::yield_now;
use tokio::time::timeout;
use tresor_channel::{Connection, ErrorKind, Notice, Role, codes};

use crate::calls::give;
use crate::pair::{HANGS, body, impatient, options, pair, pair_with, serve, unserved};

#[tokio::test]
async fn a_goodbye_lets_calls_under_way_end() {
    let (service, host) = pair().await;
    let under_way = host.call("give", b"5000000").await.unwrap();
    let closing = tokio::spawn({
        let service = service.clone();
        async move {
            service
                .close(Notice::new(codes::SHUTDOWN, "an update"))
                .await
        }
    });
    let error = timeout(HANGS, async {
        loop {
            if let Err(error) = host.call("echo", b"").await {
                return error;
            }
        }
    });
    assert_eq!(error.await.unwrap().kind(), ErrorKind::Leaving);
    assert_eq!(host.farewell().unwrap().text, "an update");
    assert!(under_way.body.read_to_end(5_000_000).await.unwrap() == body(5_000_000));
    closing.await.unwrap().unwrap();
    for connection in [service, host] {
        let error = timeout(HANGS, connection.ended()).await.unwrap();
        assert_eq!(error.kind(), ErrorKind::Closed);
        let error = connection.call("echo", b"").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
}

#[tokio::test]
async fn a_goodbye_refuses_what_nobody_has_taken() {
    let (service, host) = unserved().await;
    let calls = tokio::spawn({
        let host = host.clone();
        async move { tokio::join!(host.call("a", b""), host.call("b", b"")) }
    });
    // They come in order: with the second, the first is there.
    let taken = timeout(HANGS, service.accept()).await.unwrap().unwrap();
    taken.reply.answer(b"taken").unwrap();
    let notice = Notice::new(codes::DISMISSED, "nobody serves you");
    service.close(notice).await.unwrap();
    let (first, second) = timeout(HANGS, calls).await.unwrap().unwrap();
    assert_eq!(first.unwrap().head, b"taken");
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Leaving);
}

#[tokio::test]
async fn a_goodbye_is_known_when_the_connection_breaks_after_it() {
    let (service, host) = unserved().await;
    let call = host.call("a", b"");
    let leave = async {
        let taken = service.accept().await.unwrap();
        let notice = Notice::new(codes::DISMISSED, "not welcome");
        tokio::select! {
            closed = service.close(notice) => panic!("it waits for what was taken: {closed:?}"),
            () = async { while host.farewell().is_none() { yield_now().await } } => {}
        }
        taken
    };
    let taken = tokio::select! {
        answer = call => panic!("{answer:?}"),
        taken = timeout(HANGS, leave) => taken.unwrap(),
    };
    drop((service, taken));
    let error = timeout(HANGS, host.ended()).await.unwrap();
    assert_eq!(host.farewell().unwrap().code, codes::DISMISSED, "{error}");
}

#[tokio::test]
async fn both_may_say_goodbye_at_once() {
    for _ in 0..50 {
        let (service, host) = pair().await;
        let notice = || Notice::new(codes::SHUTDOWN, "");
        let (a, b) = tokio::join!(service.close(notice()), host.close(notice()));
        a.unwrap();
        b.unwrap();
    }
}

/// Whatever waits on a connection ends with it, and with its first cause.
#[tokio::test]
async fn a_connection_that_dies_ends_everything_on_it() {
    let (service, host) = unserved().await;
    let serving = serve(&service);
    let waiting = tokio::spawn({
        let host = host.clone();
        async move { host.call("wait", b"").await.map(|_| ()) }
    });
    let reading = host.call("give", b"100000000").await.unwrap();
    let mut writing = host.call_with_body("wait", b"").await.unwrap();
    let stuffed = tokio::spawn(async move {
        loop {
            if let Err(error) = writing.body.write(&[0; 100_000]).await {
                return error;
            }
        }
    });
    // Let all of them get going.
    assert_eq!(host.call("echo", b"1").await.unwrap().head, b"1");
    let asked_back = tokio::spawn(async move { service.call("echo", b"").await.map(|_| ()) });
    // All that the service has in hand is dropped.
    serving.abort();
    asked_back.abort();
    let ends = async {
        (
            waiting.await.unwrap().unwrap_err(),
            reading.body.read_to_end(usize::MAX).await.unwrap_err(),
            stuffed.await.unwrap(),
            host.call("echo", b"").await.unwrap_err(),
        )
    };
    let (waiting, reading, stuffed, late) = timeout(HANGS, ends).await.unwrap();
    for error in [waiting, reading, stuffed, late] {
        assert!(
            matches!(error.kind(), ErrorKind::Reset | ErrorKind::Lost),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn nobody_there_and_somebody_else_are_told_apart() {
    let (near, _far) = UnixStream::pair().unwrap();
    let mut hasty = impatient(Role::Host);
    hasty.timing.greet_limit = hasty.timing.greet_every * 3;
    let error = Connection::open(near, hasty).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NobodyThere);

    let (near, far) = UnixStream::pair().unwrap();
    drop(far);
    let error = Connection::open(near, impatient(Role::Host)).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Lost);

    let (near, far) = UnixStream::pair().unwrap();
    let mut strict = impatient(Role::Service);
    strict.accept = vec![Role::Host];
    let (service, agent) = tokio::join!(
        Connection::open(near, strict),
        Connection::open(far, impatient(Role::Agent))
    );
    assert_eq!(service.unwrap_err().kind(), ErrorKind::Incompatible);
    // It has greeted and was then turned away, or was turned away at once.
    let error = match agent {
        Err(error) => error,
        Ok(agent) => timeout(HANGS, agent.ended()).await.unwrap(),
    };
    assert_eq!(error.kind(), ErrorKind::Incompatible);
}

/// The other end neither reads nor writes any more, and its socket stays open.
#[tokio::test]
async fn a_peer_that_stops_answering_is_given_up() {
    let (near, far) = UnixStream::pair().unwrap();
    let (inner, outer) = UnixStream::pair().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let relay = tokio::spawn(async move {
        let (mut far, mut outer) = (far, outer);
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut far, &mut outer) => {}
            _ = stopped => {}
        }
        (far, outer)
    });
    let (service, host) = tokio::join!(
        Connection::open(near, options(Role::Service)),
        Connection::open(inner, impatient(Role::Host))
    );
    let (service, host) = (service.unwrap(), host.unwrap());
    serve(&service);
    assert!(give(&host, 1 << 20).await.unwrap() == body(1 << 20));
    stop.send(()).unwrap();
    let _open = relay.await.unwrap();
    let error = timeout(HANGS, host.call("echo", b"")).await.unwrap();
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Silent);
}

/// A handler that takes its time is not silence, and an idle connection stays.
#[tokio::test]
async fn pings_keep_an_idle_connection() {
    let (_service, host) = pair_with(impatient(Role::Service), impatient(Role::Host)).await;
    let idle = impatient(Role::Host).timing.silence_limit * 2;
    let ended = timeout(idle, host.call("wait", b"")).await;
    assert!(ended.is_err(), "{:?}", ended.unwrap().err());
    assert_eq!(host.call("echo", b"1").await.unwrap().head, b"1");
}

/// A peer that speaks something else, after a greeting that was right.
#[tokio::test]
async fn a_peer_out_of_step_ends_the_connection_and_is_told() {
    use tresor_link_proto::{Link, Own};
    let (near, mut far) = UnixStream::pair().unwrap();
    let opening = tokio::spawn(Connection::open(near, options(Role::Service)));
    let own = Own::new(99, Role::Host, &[Role::Service], "0.1.0");
    let mut link = Link::new(own);
    let mut buffer = vec![0; 10_000];
    while link.peer().is_none() {
        let mut out = Vec::new();
        link.output(&mut out, 10_000);
        far.write_all(&out).await.unwrap();
        let got = far.read(&mut buffer).await.unwrap();
        link.receive(&buffer[..got]).unwrap();
    }
    let mut out = Vec::new();
    link.output(&mut out, 10_000);
    far.write_all(&out).await.unwrap();
    let service = opening.await.unwrap().unwrap();
    far.write_all(b"GET / HTTP/1.1\r\nHost: tresor\r\n\r\n")
        .await
        .unwrap();
    let error = timeout(HANGS, service.ended()).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).await.unwrap();
    let told = link.receive(&rest).unwrap_err();
    let code = codes::VIOLATION;
    assert_eq!(
        told.kind(),
        tresor_link_proto::ErrorKind::PeerReset { code }
    );
}
