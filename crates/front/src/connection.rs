//! One connection, from its handshake to its end.

use std::{io, pin::pin, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tresor_identity::{HandshakeError, Session, session};

use crate::Links;

/// From the connection's beginning to the end of its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// A head and all its fields are no longer.
const LONGEST_HEAD: usize = 64 << 10;
/// Streams of HTTP/2 at once on one connection.
const STREAMS: u32 = 64;

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error("the handshake took too long")]
    Slow,
    #[error("the handshake failed")]
    Handshake(#[source] io::Error),
    #[error("nobody may come so: {0}")]
    Session(HandshakeError),
    #[error("the connection broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

pub(crate) async fn serve(
    stream: TcpStream,
    tls: &TlsAcceptor,
    router: Router,
    links: &dyn Links,
    stop: &CancellationToken,
) -> Result<(), Failed> {
    // Answers are small: they are not to wait for each other.
    stream.set_nodelay(true).map_err(Failed::Handshake)?;
    let handshake = tokio::time::timeout(HANDSHAKE, tls.accept(stream));
    let stream = handshake.await.map_err(|_| Failed::Slow)?;
    let stream = stream.map_err(Failed::Handshake)?;
    match session(stream.get_ref().1).map_err(Failed::Session)? {
        Session::Api(_) => {}
        Session::Link(host) => {
            links.link(stream, host, stop.clone()).await;
            return Ok(());
        }
        Session::Enrol => {
            links.enrol(stream, stop.clone()).await;
            return Ok(());
        }
    }
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LONGEST_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(LONGEST_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(30));
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(Failed::Broken)
}
