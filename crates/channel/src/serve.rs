//! Requests of the other end.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use tokio::task::JoinSet;
use tresor_link_proto::{Failure, failures};

use crate::body::{BodyReader, BodyWriter, Side};
use crate::connection::Connection;
use crate::error::{Error, ErrorKind, Result};
use crate::shared::Stream;

/// Most handlers at once: those that may be unanswered, and as many that have answered and are not
/// through yet.
fn most_handlers(streams: u16) -> usize {
    usize::from(streams) * 2
}

/// A request of the other end.
#[derive(Debug)]
pub struct Request {
    /// What is asked for.
    pub method: String,
    /// The head.
    pub head: Vec<u8>,
    /// The body; empty where there is none.
    pub body: BodyReader,
    /// How to answer. Dropped, the request fails at the other end as [`ErrorKind::Cancelled`].
    pub reply: Reply,
}

impl Request {
    /// The head, from JSON.
    ///
    /// # Errors
    /// What to refuse the request with.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.head)
            .map_err(|error| Failure::new(failures::HEAD_MALFORMED, error.to_string()))
    }

    /// Refuses it: there is no such method.
    ///
    /// # Errors
    /// As [`Reply::answer`].
    pub fn unknown(self) -> Result<()> {
        let text = format!("there is no method {:?}", self.method);
        let failure = Failure::new(failures::METHOD_UNKNOWN, text);
        self.reply.fail(&failure)
    }
}

/// How to answer a request.
#[derive(Debug)]
pub struct Reply {
    stream: Arc<Stream>,
}

impl Reply {
    /// Answers without a body.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] when nobody waits for the answer any more; [`ErrorKind::Invalid`].
    pub fn answer(self, head: &[u8]) -> Result<()> {
        self.begin(head, false)
    }

    /// Answers with a head of JSON.
    ///
    /// # Errors
    /// As [`Reply::answer`].
    pub fn json<T: Serialize>(self, head: &T) -> Result<()> {
        let head = serde_json::to_vec(head)
            .map_err(|error| Error::because(ErrorKind::Invalid, "an answer's head", error))?;
        self.answer(&head)
    }

    /// Answers with a body.
    ///
    /// # Errors
    /// As [`Reply::answer`].
    pub fn with_body(self, head: &[u8]) -> Result<BodyWriter> {
        self.begin(head, true)?;
        Ok(BodyWriter::new(self.stream, Side::Handler))
    }

    /// Refuses the request.
    ///
    /// # Errors
    /// As [`Reply::answer`].
    pub fn fail(self, failure: &Failure) -> Result<()> {
        self.stream.with(|inner, id| {
            inner.alive()?;
            inner.link.fail(id, failure).map_err(Error::misuse)
        })
    }

    fn begin(&self, head: &[u8], body: bool) -> Result<()> {
        self.stream.with(|inner, id| {
            inner.alive()?;
            inner.link.answer(id, head, body).map_err(Error::misuse)
        })
    }
}

impl Connection {
    /// The next request of the other end, or `None` when none will come any more.
    pub async fn accept(&self) -> Option<Request> {
        let (request, stream) = self.take_request().await?;
        drop(stream);
        Some(request)
    }

    async fn take_request(&self) -> Option<(Request, Arc<Stream>)> {
        let shared = &self.owner.shared;
        let taken = shared.wait(&shared.changed, |inner| {
            if let Some(request) = inner.link.accept() {
                return Some(Some(request));
            }
            let over = inner.alive().is_err() || !inner.link.may_accept();
            over.then_some(None)
        });
        let request = taken.await?;
        let stream = Arc::new(Stream::new(Arc::clone(&self.owner), request.stream));
        let taken = Request {
            method: request.method,
            head: request.head,
            body: BodyReader::new(Arc::clone(&stream), Side::Handler),
            reply: Reply {
                stream: Arc::clone(&stream),
            },
        };
        Some((taken, stream))
    }

    /// Runs a handler for each request, many at once, until no more come and all are through. A handler
    /// whose caller has given up, or whose connection has ended, is dropped at its next await.
    /// Dropping this future drops them all. What has to go on without its caller, a handler spawns.
    pub async fn serve<F, H>(&self, handler: F)
    where
        F: Fn(Request) -> H,
        H: Future<Output = ()> + Send + 'static,
    {
        let most = most_handlers(self.limits().streams);
        let mut handlers = JoinSet::new();
        loop {
            while handlers.len() >= most {
                joined(handlers.join_next().await);
            }
            let next = tokio::select! {
                next = self.take_request() => next,
                ended = handlers.join_next(), if !handlers.is_empty() => {
                    joined(ended);
                    continue;
                }
            };
            let Some((request, stream)) = next else {
                break;
            };
            let handling = handler(request);
            handlers.spawn(async move {
                tokio::select! {
                    () = handling => {}
                    () = stream.cancelled() => {}
                }
            });
        }
        while let Some(ended) = handlers.join_next().await {
            joined(Some(ended));
        }
    }
}

/// A handler that panicked has dropped its request: the other end knows. Others go on.
fn joined(ended: Option<Result<(), tokio::task::JoinError>>) {
    if let Some(Err(error)) = ended {
        tracing::error!(error = &error as &dyn std::error::Error, "a handler failed");
    }
}
