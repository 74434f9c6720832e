//! Bodies: bytes of any length, as fast as their reader takes them.

use std::sync::Arc;

use tresor_link_proto::{Failure, Misuse, Read};

use crate::error::{Error, ErrorKind, Result};
use crate::shared::{Inner, Stream};

/// Which end of the call this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Caller,
    Handler,
}

/// The body that comes.
#[derive(Debug)]
pub struct BodyReader {
    stream: Arc<Stream>,
    side: Side,
    /// How it ended, once it has.
    end: Option<Result<()>>,
}

impl BodyReader {
    pub(crate) const fn new(stream: Arc<Stream>, side: Side) -> Self {
        Self {
            stream,
            side,
            end: None,
        }
    }

    /// The next piece, or `None` at the end of a complete body.
    ///
    /// # Errors
    /// When the other end could not go on ([`ErrorKind::Refused`], [`ErrorKind::Cancelled`]) or the
    /// connection ended. What was read before is right and not all.
    pub async fn read(&mut self) -> Result<Option<Vec<u8>>> {
        if let Some(end) = &self.end {
            return end.clone().map(|()| None);
        }
        let found = self.stream.wait(|inner, id| match inner.link.read(id) {
            Read::Data(data) => Some(Ok(Some(data))),
            Read::Pending => inner.alive().err().map(Err),
            Read::End => Some(Ok(None)),
            Read::Failed(failure) => Some(Err(Error::refused(failure))),
            Read::Cancelled => Some(Err(
                inner.gone(ErrorKind::Cancelled, "the other end gave the body up")
            )),
        });
        let found = found.await;
        match &found {
            Ok(Some(_)) => {}
            Ok(None) => self.end = Some(Ok(())),
            Err(error) => self.end = Some(Err(error.clone())),
        }
        found
    }

    /// All of it, when it is no longer than `limit` bytes.
    ///
    /// # Errors
    /// As [`BodyReader::read`]; [`ErrorKind::TooLarge`].
    pub async fn read_to_end(mut self, limit: usize) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(data) = self.read().await? {
            if all.len() + data.len() > limit {
                let context = format!("a body of more than {limit} bytes");
                return Err(Error::new(ErrorKind::TooLarge, context));
            }
            all.extend_from_slice(&data);
        }
        Ok(all)
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        if self.end.is_some() {
            return;
        }
        match self.side {
            Side::Caller => self.stream.release(),
            // A handler may answer without having read everything.
            Side::Handler => self.stream.with(|inner, id| inner.link.ignore(id)),
        }
    }
}

/// The body that goes. Dropping it before [`BodyWriter::finish`] gives the stream up: no reader takes
/// half a body for a whole one.
#[derive(Debug)]
pub struct BodyWriter {
    stream: Arc<Stream>,
    side: Side,
    finished: bool,
}

impl BodyWriter {
    pub(crate) const fn new(stream: Arc<Stream>, side: Side) -> Self {
        Self {
            stream,
            side,
            finished: false,
        }
    }

    /// Writes all of it; waits while the other end does not read.
    ///
    /// # Errors
    /// [`ErrorKind::NotWanted`] when the other end has answered already; others when it gave up or the connection ended.
    pub async fn write(&mut self, mut data: &[u8]) -> Result<()> {
        let side = self.side;
        while !data.is_empty() {
            let written = self.stream.wait(|inner, id| {
                if let Err(error) = inner.alive() {
                    return Some(Err(error));
                }
                match inner.link.write(id, data) {
                    Ok(0) => None,
                    Ok(taken) => Some(Ok(taken)),
                    Err(misuse) => Some(Err(over(inner, side, misuse))),
                }
            });
            data = &data[written.await?..];
        }
        Ok(())
    }

    /// Ends it: the other end has all of it when it has read this far.
    ///
    /// # Errors
    /// As [`BodyWriter::write`].
    pub fn finish(mut self) -> Result<()> {
        let side = self.side;
        self.finished = true;
        self.stream.with(|inner, id| {
            inner.alive()?;
            let finished = inner.link.finish(id);
            finished.map_err(|misuse| over(inner, side, misuse))
        })
    }

    /// Ends it with a failure, which the reader gets in the place of the rest.
    ///
    /// # Errors
    /// As [`BodyWriter::write`]; [`ErrorKind::Invalid`] when the failure is too large to be sent.
    pub fn fail(mut self, failure: &Failure) -> Result<()> {
        let side = self.side;
        let failed = self.stream.with(|inner, id| {
            inner.alive()?;
            let failed = inner.link.fail(id, failure);
            failed.map_err(|misuse| over(inner, side, misuse))
        });
        self.finished = failed.is_ok();
        failed
    }
}

fn over(inner: &Inner, side: Side, misuse: Misuse) -> Error {
    match (misuse, side) {
        (Misuse::StreamOver, Side::Caller) => {
            inner.gone(ErrorKind::NotWanted, "the other end has answered already")
        }
        (Misuse::StreamOver | Misuse::NotOpen, _) => {
            inner.gone(ErrorKind::Cancelled, "the other end gave the request up")
        }
        (misuse, _) => Error::misuse(misuse),
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        if !self.finished {
            self.stream.release();
        }
    }
}
