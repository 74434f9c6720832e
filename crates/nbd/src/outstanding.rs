//! The requests sent and not yet answered, and the one reason why a connection ended.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::Instant,
};

use crate::{
    assembly::{ReadAssembly, StatusAssembly},
    error::{Error, ErrorKind, Result, Violation},
    wire::{
        reply::Descriptor,
        request::{Command, Framing, Request},
    },
};

/// An answer in the making and who waits for it. A caller who stopped waiting changes nothing here: the answer is
/// taken off the wire all the same, or the stream would lose its step.
#[derive(Debug)]
pub(crate) enum Work {
    Read(ReadAssembly, oneshot::Sender<Result<Bytes>>),
    Status(
        StatusAssembly,
        oneshot::Sender<Result<Vec<Vec<Descriptor>>>>,
    ),
}

impl Work {
    fn request(&self) -> Request {
        let (command, window) = match self {
            Self::Read(read, _) => (Command::Read, read.window()),
            Self::Status(status, _) => (Command::BlockStatus, status.window()),
        };
        Request {
            command,
            offset: window.offset,
            length: window.length,
        }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.request().offset
    }

    /// Hands the answer to whoever still waits.
    pub(crate) fn finish(self) -> Result<(), Violation> {
        // A send fails when the caller has gone: nothing is left to do for it then.
        match self {
            Self::Read(read, reply) => drop(reply.send(read.finish()?)),
            Self::Status(status, reply) => drop(reply.send(status.finish()?)),
        }
        Ok(())
    }

    /// Hands over a failure of this request alone.
    pub(crate) fn fail(self, error: Error) {
        match self {
            Self::Read(_, reply) => drop(reply.send(Err(error))),
            Self::Status(_, reply) => drop(reply.send(Err(error))),
        }
    }
}

#[derive(Debug)]
struct Entry {
    /// Absent while a chunk of it is being received.
    work: Option<Work>,
    sent: Instant,
    /// Held until the answer is complete, even when nobody waits for it: this bounds what a connection keeps.
    _budget: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct State {
    entries: BTreeMap<u64, Entry>,
    next_cookie: u64,
    /// Where encoded requests go; gone once no more may be sent.
    writer: Option<mpsc::UnboundedSender<BytesMut>>,
    ended: Option<Error>,
}

/// The table shared by callers and the task of a connection. Never locked across an await.
#[derive(Debug, Clone)]
pub(crate) struct Outstanding {
    state: Arc<Mutex<State>>,
    framing: Framing,
}

impl Outstanding {
    /// `writer` needs no bound of its own: every message in it holds a part of the budget.
    pub(crate) fn new(framing: Framing, writer: mpsc::UnboundedSender<BytesMut>) -> Self {
        let state = State {
            entries: BTreeMap::new(),
            next_cookie: 1,
            writer: Some(writer),
            ended: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            framing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; were it to, the map would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a request and queues its bytes, in one step without an await: a caller is cancelled before it or after it.
    pub(crate) fn send(&self, work: Work, budget: OwnedSemaphorePermit) -> Result<()> {
        let mut state = self.lock();
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        let cookie = state.next_cookie;
        let mut bytes = BytesMut::with_capacity(32);
        work.request().encode(self.framing, cookie, &mut bytes);
        let Some(Ok(())) = state.writer.as_ref().map(|writer| writer.send(bytes)) else {
            return Err(Error::new(
                ErrorKind::ConnectionLost,
                "nothing more can be sent",
            ));
        };
        state.next_cookie += 1;
        state.entries.insert(
            cookie,
            Entry {
                work: Some(work),
                sent: Instant::now(),
                _budget: budget,
            },
        );
        Ok(())
    }

    /// Queues the goodbye; whatever is asked afterwards is refused.
    pub(crate) fn send_disconnect(&self) {
        let mut state = self.lock();
        let cookie = state.next_cookie;
        let mut bytes = BytesMut::with_capacity(32);
        Request {
            command: Command::Disconnect,
            offset: 0,
            length: 0,
        }
        .encode(self.framing, cookie, &mut bytes);
        if let Some(writer) = state.writer.take() {
            // Fails when the connection has ended: then there is nobody to say goodbye to.
            drop(writer.send(bytes));
        }
        state
            .ended
            .get_or_insert_with(|| Error::new(ErrorKind::Disconnected, "by its owner"));
    }

    /// Takes out the work a reply is for. Its entry stays: it is not answered yet.
    pub(crate) fn take(&self, cookie: u64) -> Result<Work, Violation> {
        let work = self
            .lock()
            .entries
            .get_mut(&cookie)
            .and_then(|entry| entry.work.take());
        work.ok_or_else(|| Violation::new("reply to no request of ours"))
    }

    /// Puts work back until its next chunk.
    pub(crate) fn put_back(&self, cookie: u64, work: Work) {
        if let Some(entry) = self.lock().entries.get_mut(&cookie) {
            entry.work = Some(work);
        }
    }

    /// Forgets a request whose last chunk has come, and frees its budget.
    pub(crate) fn complete(&self, cookie: u64) {
        self.lock().entries.remove(&cookie);
    }

    /// Whether the oldest request has waited longer than `limit`.
    pub(crate) fn is_late(&self, limit: Duration) -> bool {
        self.lock()
            .entries
            .first_key_value()
            .is_some_and(|(_, entry)| entry.sent.elapsed() > limit)
    }

    /// Ends the connection: the first reason is kept, nothing more is sent, nobody is left waiting.
    pub(crate) fn end(&self, error: Error) {
        let mut state = self.lock();
        state.ended.get_or_insert(error);
        state.writer = None;
        let entries = std::mem::take(&mut state.entries);
        drop(state);
        drop(entries);
    }

    /// Why the connection ended, if it has.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.lock().ended.clone()
    }
}
