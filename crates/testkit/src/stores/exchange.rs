//! One request and its answer, both whole in memory; and serving such.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::server::LIMIT;

/// Sends a request to the host in its URL, over a connection of its own.
pub(super) async fn send(request: Request<Bytes>) -> Result<Response<Bytes>> {
    tokio::time::timeout(LIMIT, send_patiently(request))
        .await
        .context("no answer in time")?
}

async fn send_patiently(request: Request<Bytes>) -> Result<Response<Bytes>> {
    let (mut parts, body) = request.into_parts();
    let host = parts
        .uri
        .authority()
        .context("a URL without a host")?
        .to_string();
    let stream = TcpStream::connect(&host).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    // A proxy keeps the name that was asked for: signatures cover it.
    parts
        .headers
        .entry(http::header::HOST)
        .or_insert(host.parse()?);
    let path = parts
        .uri
        .path_and_query()
        .context("a URL without a path")?
        .clone();
    parts.uri = http::Uri::from(path);
    let answer = sender
        .send_request(Request::from_parts(parts, Full::new(body)))
        .await?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok(Response::from_parts(parts, body))
}

/// Serves until dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) url: String,
    task: AbortHandle,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers requests on a port of the loopback. An error of `answer` cuts the connection.
pub(super) async fn serve<A, F>(answer: A) -> Result<Serving>
where
    A: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<Bytes>>> + Send + 'static,
{
    serve_at(0, answer).await
}

/// The same on a port that is known; 0: one that the kernel chooses.
pub(crate) async fn serve_at<A, F>(port: u16, answer: A) -> Result<Serving>
where
    A: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let answer = Arc::new(answer);
    let task = tokio::spawn(async move {
        // Connections end with the task: the set aborts what it holds when it is dropped.
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            connections.spawn(async move {
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let answer = Arc::clone(&answer);
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let answered = answer(Request::from_parts(parts, body)).await?;
                        anyhow::Ok(answered.map(Full::new))
                    }
                });
                let serving = hyper::server::conn::http1::Builder::new();
                // A cut connection is the client's to notice.
                drop(
                    serving
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                );
            });
            while connections.try_join_next().is_some() {}
        }
    });
    Ok(Serving {
        url,
        task: task.abort_handle(),
    })
}
