//! One connection in transmission: many requests in flight, answered in any order.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    address::{Address, ReadHalf, WriteHalf},
    assembly::{ReadAssembly, StatusAssembly},
    error::{Error, ErrorKind, Result},
    handshake::{Handshake, Session},
    outstanding::{Outstanding, Work},
    plan::{ReadPiece, Window},
    receive::Receiver,
    wire::{reply::Descriptor, request::Framing},
};

/// What a connection keeps for requests in flight, in units of [`UNIT`]: 64 MiB.
const BUDGET: u32 = 1024;
const UNIT: u64 = 64 << 10;
/// The least a request takes of the budget: at most 64 requests are in flight on one connection.
const LEAST: u32 = 16;

/// Bytes taken from the socket at once when headers are read.
const READ_BUFFER: usize = 64 << 10;

/// One connection in transmission. Dropping it closes the socket without a goodbye.
pub(crate) struct Connection {
    session: Session,
    outstanding: Outstanding,
    budget: Arc<Semaphore>,
    /// Cancelled once the reason of the end is on record.
    ended: CancellationToken,
    request_limit: Duration,
    _close: DropGuard,
}

impl Connection {
    /// Connects and negotiates within `connect_limit`.
    pub(crate) async fn open(
        address: &Address,
        export: &str,
        contexts: &[String],
        connect_limit: Duration,
        request_limit: Duration,
    ) -> Result<Self> {
        let opening = async {
            let (mut read, mut write) = address.open().await?;
            let session = Handshake::begin(&mut read, &mut write)
                .await?
                .enter(export, contexts)
                .await?;
            Ok((read, write, session))
        };
        let (read, write, session) = within(connect_limit, "connecting", opening).await?;
        tracing::debug!(%address, export, ?session, "connected");
        Ok(Self::start(read, write, session, request_limit))
    }

    fn start(read: ReadHalf, write: WriteHalf, session: Session, request_limit: Duration) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let outstanding = Outstanding::new(session.framing, sender);
        let budget = Arc::new(Semaphore::new(BUDGET as usize));
        let close = CancellationToken::new();
        let ended = CancellationToken::new();
        let stream = BufReader::with_capacity(READ_BUFFER, read);
        let replies = Receiver::new(stream, session.framing, outstanding.clone());
        tokio::spawn({
            let (outstanding, budget, close, ended) = (
                outstanding.clone(),
                Arc::clone(&budget),
                close.clone(),
                ended.clone(),
            );
            async move {
                let watched = outstanding.clone();
                let reason = tokio::select! {
                    reason = replies.run() => reason,
                    reason = write_requests(write, receiver) => reason,
                    reason = watch(watched, request_limit) => reason,
                    () = close.cancelled() => Error::new(ErrorKind::Disconnected, "its owner let go of it"),
                };
                outstanding.end(reason);
                budget.close();
                ended.cancel();
            }
        });
        Self {
            session,
            outstanding,
            budget,
            ended,
            request_limit,
            _close: close.drop_guard(),
        }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Why the connection ended, if it has.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.outstanding.ended()
    }

    /// How much room there is for more requests.
    pub(crate) fn room(&self) -> usize {
        self.budget.available_permits()
    }

    /// Reads one piece.
    pub(crate) async fn read(&self, piece: ReadPiece) -> Result<Bytes> {
        let permit = self.reserve(piece.request.length).await?;
        let (reply, answer) = oneshot::channel();
        self.outstanding
            .send(Work::Read(ReadAssembly::new(piece.request), reply), permit)?;
        let data = self.answer(answer).await?;
        Ok(data.slice(piece.skip..piece.skip + piece.keep))
    }

    /// Asks for block status; the runs are in the order of the session's contexts.
    pub(crate) async fn block_status(&self, window: Window) -> Result<Vec<Vec<Descriptor>>> {
        let permit = self.reserve(0).await?;
        let sizes = self.session.info.block_sizes;
        let grain = sizes.advertised.then_some(sizes.minimum);
        let (reply, answer) = oneshot::channel();
        let assembly = StatusAssembly::new(window, Arc::clone(&self.session.contexts), grain);
        self.outstanding
            .send(Work::Status(assembly, reply), permit)?;
        self.answer(answer).await
    }

    /// Whether requests may be longer than 32 bits can say.
    pub(crate) fn is_wide(&self) -> bool {
        self.session.framing == Framing::Extended
    }

    /// Waits for what is outstanding, says goodbye and closes.
    pub(crate) async fn disconnect(&self) -> Result<()> {
        // The watch bounds this wait: requests end, or the connection does.
        let Ok(_all) = Arc::clone(&self.budget).acquire_many_owned(BUDGET).await else {
            return Err(self.reason().await);
        };
        self.outstanding.send_disconnect();
        let closing = async {
            self.ended.cancelled().await;
            Ok(())
        };
        within(self.request_limit, "disconnecting", closing).await
    }

    async fn reserve(&self, length: u64) -> Result<OwnedSemaphorePermit> {
        let units = u32::try_from(length.div_ceil(UNIT))
            .unwrap_or(BUDGET)
            .clamp(LEAST, BUDGET);
        match Arc::clone(&self.budget).acquire_many_owned(units).await {
            Ok(permit) => Ok(permit),
            Err(_closed) => Err(self.reason().await),
        }
    }

    async fn answer<T>(&self, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
        match answer.await {
            Ok(answer) => answer,
            // The sender is gone: the connection ended, and the reason is on record a moment later at most.
            Err(_gone) => Err(self.reason().await),
        }
    }

    async fn reason(&self) -> Error {
        self.ended.cancelled().await;
        self.failure()
            .unwrap_or_else(|| Error::new(ErrorKind::ConnectionLost, "for no known reason"))
    }
}

/// Runs something that must end within `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    doing: &'static str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Error::new(
            ErrorKind::LimitPassed,
            format!("{doing} took longer than {limit:?}"),
        ))
    })
}

/// Writes requests as they are queued, several at once when they come faster than the socket takes them. When the
/// queue is closed its last message was the goodbye.
async fn write_requests(
    mut stream: WriteHalf,
    mut queue: mpsc::UnboundedReceiver<BytesMut>,
) -> Error {
    let mut batch = BytesMut::new();
    loop {
        let Some(first) = queue.recv().await else {
            break;
        };
        batch.extend_from_slice(&first);
        while let Ok(next) = queue.try_recv() {
            batch.extend_from_slice(&next);
        }
        if let Err(error) = stream.write_all(&batch).await {
            return Error::lost("while sending")(error);
        }
        batch.clear();
    }
    match stream.shutdown().await {
        Ok(()) => Error::new(ErrorKind::Disconnected, "by its owner"),
        Err(error) => Error::lost("while closing")(error),
    }
}

/// Returns once the oldest request has waited longer than `limit`: a server that lets one request lie that long is
/// as good as lost, and the callers of the others must not wait for it too.
async fn watch(outstanding: Outstanding, limit: Duration) -> Error {
    let mut ticks = interval((limit / 8).clamp(Duration::from_millis(5), Duration::from_secs(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if outstanding.is_late(limit) {
            return Error::new(
                ErrorKind::LimitPassed,
                format!("no answer to a request within {limit:?}"),
            );
        }
    }
}
