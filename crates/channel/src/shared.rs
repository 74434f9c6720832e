//! What callers and the driver share: the link behind a lock that is never held for long, and bells for those who wait.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use tresor_link_proto::{Event, Link, Peer, StreamId};

use crate::error::{Error, ErrorKind, Result};

pub(crate) struct Inner {
    pub(crate) link: Link,
    bells: HashMap<StreamId, Arc<Notify>>,
    /// Why the connection ended. The first cause is kept.
    ended: Option<Error>,
}

pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// There is something to be sent. For the driver alone.
    pub(crate) output: Notify,
    /// Something changed for the connection as a whole.
    pub(crate) changed: Notify,
    /// The driver has ended.
    pub(crate) finished: CancellationToken,
}

impl Shared {
    pub(crate) fn new(link: Link) -> Self {
        Self {
            inner: Mutex::new(Inner {
                link,
                bells: HashMap::new(),
                ended: None,
            }),
            output: Notify::new(),
            changed: Notify::new(),
            finished: CancellationToken::new(),
        }
    }

    /// Does something with the link, and rings for whoever that concerns.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let done = act(&mut inner);
        self.ring(&mut inner);
        if inner.link.has_output() || inner.link.is_drained() {
            self.output.notify_one();
        }
        done
    }

    /// Takes what is to be sent; true when nothing will be any more. Does not ring for the driver: what is
    /// left waits for credit, and that comes in by [`Shared::with`].
    pub(crate) fn take_output(&self, buffer: &mut Vec<u8>, room: usize) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.link.output(buffer, room);
        self.ring(&mut inner);
        inner.link.is_drained()
    }

    fn ring(&self, inner: &mut Inner) {
        while let Some(event) = inner.link.event() {
            match event {
                Event::Stream(id) => {
                    if let Some(bell) = inner.bells.get(&id) {
                        bell.notify_waiters();
                    }
                }
                Event::Open | Event::Places | Event::Request | Event::Pong | Event::Goodbye => {
                    self.changed.notify_waiters();
                }
            }
        }
    }

    /// Ends everything that waits.
    pub(crate) fn end(&self, error: Error) {
        self.with(|inner| {
            inner.fail(error);
            inner.bells.values().for_each(|bell| bell.notify_waiters());
        });
        self.changed.notify_waiters();
    }

    /// Waits until `check` finds something.
    pub(crate) async fn wait<T>(
        &self,
        bell: &Notify,
        mut check: impl FnMut(&mut Inner) -> Option<T>,
    ) -> T {
        loop {
            let mut rung = pin!(bell.notified());
            // From here on no ring is missed.
            rung.as_mut().enable();
            if let Some(found) = self.with(&mut check) {
                return found;
            }
            rung.await;
        }
    }
}

impl Inner {
    /// Keeps why the connection ended. To be called under the same lock as what ends the link, so that
    /// nobody sees the end without its cause.
    pub(crate) fn fail(&mut self, error: Error) {
        self.ended.get_or_insert(error);
    }

    /// Why the connection ended, if it has.
    pub(crate) fn alive(&self) -> Result<()> {
        self.ended.clone().map_or(Ok(()), Err)
    }

    /// What to say of something that is gone: why the connection ended, or that the other end gave it up.
    pub(crate) fn gone(&self, kind: ErrorKind, context: &str) -> Error {
        let gone = || Error::new(kind, context);
        self.ended.clone().unwrap_or_else(gone)
    }
}

/// What keeps a connection alive: handles, calls, bodies. When the last one is gone, it ends.
pub(crate) struct Owner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: Peer,
    pub(crate) _close: DropGuard,
}

/// A stream in somebody's hands. Dropping the last part of it lets go of it.
pub(crate) struct Stream {
    pub(crate) owner: Arc<Owner>,
    pub(crate) id: StreamId,
    pub(crate) bell: Arc<Notify>,
}

impl Stream {
    pub(crate) fn new(owner: Arc<Owner>, id: StreamId) -> Self {
        let bell = Arc::new(Notify::new());
        let ring = Arc::clone(&bell);
        owner.shared.with(|inner| inner.bells.insert(id, ring));
        Self { owner, id, bell }
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Inner, StreamId) -> T) -> T {
        self.owner.shared.with(|inner| act(inner, self.id))
    }

    pub(crate) async fn wait<T>(
        &self,
        mut check: impl FnMut(&mut Inner, StreamId) -> Option<T>,
    ) -> T {
        let shared = &self.owner.shared;
        shared.wait(&self.bell, |inner| check(inner, self.id)).await
    }

    /// Gives it up before its end.
    pub(crate) fn release(&self) {
        self.with(|inner, id| inner.link.release(id));
    }

    /// Until the other end has given it up, or the connection has ended.
    pub(crate) async fn cancelled(&self) {
        self.wait(|inner, id| {
            let over = inner.ended.is_some() || inner.link.is_cancelled(id);
            over.then_some(())
        })
        .await;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.with(|inner, id| {
            inner.bells.remove(&id);
            inner.link.release(id);
        });
    }
}
