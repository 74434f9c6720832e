//! A connection, as its owner has it in hand.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tresor_link_proto::{Failure, Limits, Link, Misuse, Notice, Own, Peer, failures};

use crate::body::{BodyWriter, Side};
use crate::call::{Answer, Call, PendingAnswer};
use crate::driver;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{Options, Timing};
use crate::shared::{Owner, Shared, Stream};

/// An open connection. Clones are the same one; when the last one and the last call on it are gone, it
/// ends at once. [`Connection::close`] ends it in good order.
#[derive(Clone)]
pub struct Connection {
    pub(crate) owner: Arc<Owner>,
    timing: Timing,
    limits: Limits,
}

impl Connection {
    /// Greets on a stream, and waits until somebody is there.
    ///
    /// # Errors
    /// When nobody is, or somebody who may not be, or the stream fails.
    pub async fn open<S>(stream: S, options: Options) -> Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let session = getrandom::u64()
            .map_err(|error| Error::because(ErrorKind::Lost, "no random numbers", error))?;
        let link = Link::new(Own {
            session,
            limits: options.limits,
            ..Own::new(session, options.role, &options.accept, &options.program)
        });
        let (shared, close) = (Arc::new(Shared::new(link)), CancellationToken::new());
        let closing = close.clone().drop_guard();
        tokio::spawn(driver::run(
            stream,
            Arc::clone(&shared),
            options.timing,
            close,
        ));
        // Who has greeted was there, also if it has left since: its goodbye says why.
        let greeted = shared.wait(&shared.changed, |inner| {
            let greeted = inner.link.peer().cloned().map(Ok);
            greeted.or_else(|| inner.alive().err().map(Err))
        });
        let peer = greeted.await?;
        let owner = Arc::new(Owner {
            shared,
            peer,
            _close: closing,
        });
        Ok(Self {
            owner,
            timing: options.timing,
            limits: options.limits,
        })
    }

    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    /// Who is at the other end, by its own word.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.owner.peer
    }

    /// Asks for something, and waits for the answer. Waits first while the other end allows no more
    /// requests at once.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] with what the other end says; others when the connection ends.
    pub async fn call(&self, method: &str, head: &[u8]) -> Result<Answer> {
        let stream = self.begin(method, head, false).await?;
        PendingAnswer::new(stream).get().await
    }

    /// Begins a request with a body.
    ///
    /// # Errors
    /// As [`Connection::call`], but for what the other end says, which comes with the answer.
    pub async fn call_with_body(&self, method: &str, head: &[u8]) -> Result<Call> {
        let stream = self.begin(method, head, true).await?;
        Ok(Call {
            body: BodyWriter::new(Arc::clone(&stream), Side::Caller),
            answer: PendingAnswer::new(stream),
        })
    }

    /// Asks with a head of JSON, for an answer of JSON.
    ///
    /// # Errors
    /// As [`Connection::call`]; [`ErrorKind::Invalid`] when a head is not what it should be.
    pub async fn call_json<T: Serialize + Sync, R: DeserializeOwned>(
        &self,
        method: &str,
        head: &T,
    ) -> Result<R> {
        let head = serde_json::to_vec(head)
            .map_err(|error| Error::because(ErrorKind::Invalid, "a request's head", error))?;
        self.call(method, &head).await?.json()
    }

    async fn begin(&self, method: &str, head: &[u8], body: bool) -> Result<Arc<Stream>> {
        let shared = &self.owner.shared;
        let begun = shared.wait(&shared.changed, |inner| {
            if let Err(error) = inner.alive() {
                return Some(Err(error));
            }
            match inner.link.request(method, head, body) {
                Err(Misuse::StreamsTaken) => None,
                Err(Misuse::NotOpen) => {
                    Some(Err(inner.gone(ErrorKind::Lost, "the connection was lost")))
                }
                Err(misuse) => Some(Err(Error::misuse(misuse))),
                Ok(id) => Some(Ok(id)),
            }
        });
        let id = begun.await?;
        Ok(Arc::new(Stream::new(Arc::clone(&self.owner), id)))
    }

    /// Says goodbye, refuses requests that nobody has taken yet, waits for what is under way, and closes
    /// the stream.
    ///
    /// # Errors
    /// When the connection ended in another way, or [`Timing::leave_limit`] has passed: then it is still
    /// there, and ends when it is dropped.
    pub async fn close(&self, notice: Notice) -> Result<()> {
        let shared = &self.owner.shared;
        shared.with(|inner| {
            inner.link.goodbye(&notice);
            // Nobody takes them any more: their callers would wait as long as this end does.
            while let Some(request) = inner.link.accept() {
                let failure = Failure::new(failures::LEAVING, "this end takes no new requests");
                inner.link.fail(request.stream, &failure).ok();
                inner.link.release(request.stream);
            }
        });
        let limit = self.timing.leave_limit;
        match timeout(limit, self.ended()).await {
            Ok(error) if error.kind() == ErrorKind::Closed => Ok(()),
            Ok(error) => Err(error),
            Err(_) => {
                let why = format!("requests were under way {limit:?} after the goodbye");
                Err(Error::new(ErrorKind::Silent, why))
            }
        }
    }

    /// Why the other end takes no new requests, if it has said so.
    #[must_use]
    pub fn farewell(&self) -> Option<Notice> {
        let shared = &self.owner.shared;
        shared.with(|inner| inner.link.farewell().cloned())
    }

    /// Waits until the connection has ended; gives why.
    pub async fn ended(&self) -> Error {
        let shared = &self.owner.shared;
        shared.finished.cancelled().await;
        shared.with(|inner| inner.gone(ErrorKind::Lost, "the connection was lost"))
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.owner.peer)
            .finish_non_exhaustive()
    }
}
