//! Requests of this end.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tresor_link_proto::Reply;

use crate::body::{BodyReader, BodyWriter, Side};
use crate::error::{Error, ErrorKind, Result};
use crate::shared::Stream;

/// A request with a body. Dropping either part before its end cancels the request.
#[derive(Debug)]
pub struct Call {
    /// The body: to be written and finished.
    pub body: BodyWriter,
    /// The answer, which may come before the body's end.
    pub answer: PendingAnswer,
}

impl Call {
    /// Ends the body and waits for the answer.
    ///
    /// # Errors
    /// As [`PendingAnswer::get`].
    pub async fn finish(self) -> Result<Answer> {
        match self.body.finish() {
            // It was answered early.
            Err(error) if error.kind() == ErrorKind::NotWanted => {}
            finished => finished?,
        }
        self.answer.get().await
    }
}

/// An answer that has yet to come. Dropping it cancels the request.
#[derive(Debug)]
pub struct PendingAnswer {
    stream: Option<Arc<Stream>>,
}

impl PendingAnswer {
    pub(crate) const fn new(stream: Arc<Stream>) -> Self {
        let stream = Some(stream);
        Self { stream }
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] with what the other end says; others when the connection ends.
    pub async fn get(mut self) -> Result<Answer> {
        let Some(stream) = self.stream.clone() else {
            return Err(Error::new(ErrorKind::Cancelled, "the request was given up"));
        };
        let answered = stream.wait(|inner, id| match inner.link.reply(id) {
            Reply::Pending => inner.alive().err().map(Err),
            Reply::Answer { head, .. } => Some(Ok(head)),
            Reply::Failed(failure) => Some(Err(Error::refused(failure))),
            Reply::Cancelled => Some(Err(
                inner.gone(ErrorKind::Cancelled, "the other end gave the request up")
            )),
        });
        let head = answered.await?;
        self.stream = None;
        Ok(Answer {
            head,
            body: BodyReader::new(stream, Side::Caller),
        })
    }
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            stream.release();
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: Vec<u8>,
    /// Its body; empty where there is none. Dropping it before its end cancels the request.
    pub body: BodyReader,
}

impl Answer {
    /// The head, from JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is not what is expected.
    pub fn json<R: DeserializeOwned>(&self) -> Result<R> {
        serde_json::from_slice(&self.head)
            .map_err(|error| Error::because(ErrorKind::Invalid, "an answer's head", error))
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({})", self.id)
    }
}
