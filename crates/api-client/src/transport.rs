//! How a request gets to a service, and its answer back.

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, Request, StatusCode};
use tresor_problem::{Kind, Problem};

/// What is left of a body, piece by piece.
pub type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, SendError>> + Send>>;

/// An answer, its body still to be read.
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Chunks,
}

/// A request that got no answer, or not the whole of it.
#[derive(Debug)]
pub struct SendError {
    /// As the user sees it.
    pub problem: Box<Problem>,
    /// Whether it was lost on the way, so that it may succeed when it is sent again.
    pub lost: bool,
}

impl SendError {
    /// Lost on the way, or never got there.
    #[must_use]
    pub fn lost(server: &str, reason: String) -> Self {
        let server = server.to_owned();
        Self {
            problem: Box::new(Kind::ServiceUnreachable { server, reason }.into()),
            lost: true,
        }
    }
}

/// Carries requests to one service, with whatever says who asks. The URI of a request is a path with its query.
#[async_trait]
pub trait Transport: Send + Sync {
    /// What the service is called in what users read.
    fn server(&self) -> &str;

    /// Carries a request there; gives the answer as soon as its head has come.
    ///
    /// # Errors
    /// When there is no answer.
    async fn send(&self, request: Request<Bytes>) -> Result<Reply, SendError>;
}
