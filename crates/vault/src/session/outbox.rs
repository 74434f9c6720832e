//! Finished packs on their way to the storage, and the index runs behind them.
//!
//! One task owns the sending. It puts an index run only over packs whose `put` returned, and so
//! keeps the first half of the order (chunk, index) by itself.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tresor_model::SessionId;
use tresor_vault_format::{FinishedPack, IndexEntry, IndexHeader, IndexPack, IndexRun, name};

use crate::error::{Error, ErrorKind, Result};
use crate::known;
use crate::random::random;
use crate::session::spare::Spare;
use crate::vault::Inner;

/// Packs on their way at once. Two hide the latency of a `put`; each costs memory.
const AT_ONCE: usize = 2;
/// An index run is put after so many packs: a session that dies leaves few packs without one …
const FEW_PACKS: usize = 8;
/// … and a long session does not leave thousands of small runs.
const MANY_PACKS: usize = 64;

pub(crate) struct Outbox {
    orders: mpsc::UnboundedSender<Order>,
    waiting: watch::Sender<usize>,
    runs: watch::Receiver<u32>,
}

enum Order {
    Pack(Box<FinishedPack>),
    /// Answer when everything before is durable, and indexed if so wanted.
    Flush {
        index: bool,
        done: oneshot::Sender<()>,
    },
}

impl Outbox {
    pub(crate) fn start(
        vault: &Arc<Inner>,
        session: SessionId,
        bodies: Spare,
        first_error: Arc<OnceLock<Error>>,
    ) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let waiting = watch::Sender::new(0);
        let (written, runs) = watch::channel(0);
        let sender = Sender {
            vault: Arc::clone(vault),
            session,
            bodies,
            first_error,
            waiting: waiting.clone(),
            written,
            puts: JoinSet::new(),
            unindexed: Vec::new(),
        };
        tokio::spawn(sender.run(inbox));
        Self {
            orders,
            waiting,
            runs,
        }
    }

    /// Hands a pack over. Called from worker threads, so it never waits; see [`Self::has_room`].
    pub(crate) fn send(&self, pack: FinishedPack) {
        self.waiting.send_modify(|waiting| *waiting += 1);
        // A closed channel means a dead runtime: `flush` says so.
        let _closed = self.orders.send(Order::Pack(Box::new(pack)));
    }

    /// Waits until another pack may be filled: the storage sets the pace.
    pub(crate) async fn has_room(&self) -> Result<()> {
        let mut waiting = self.waiting.subscribe();
        let free = waiting.wait_for(|waiting| *waiting < AT_ONCE).await;
        free.map(drop).map_err(|_| Error::new(ErrorKind::Cancelled))
    }

    /// Whether the storage is behind: whoever fills a pack now has to wait.
    pub(crate) fn is_behind(&self) -> bool {
        *self.waiting.borrow() >= AT_ONCE
    }

    /// Waits until all packs sent so far are durable (and indexed, if so wanted), or one of them
    /// failed.
    pub(crate) async fn flush(&self, index: bool) -> Result<()> {
        let (done, answer) = oneshot::channel();
        let gone = |_| Error::new(ErrorKind::Cancelled);
        self.orders
            .send(Order::Flush { index, done })
            .map_err(|_| Error::new(ErrorKind::Cancelled))?;
        answer.await.map_err(gone)
    }

    /// How many index runs were put.
    pub(crate) fn index_runs(&self) -> u32 {
        *self.runs.borrow()
    }
}

struct Sender {
    vault: Arc<Inner>,
    session: SessionId,
    /// Takes the memory of packs back.
    bodies: Spare,
    first_error: Arc<OnceLock<Error>>,
    waiting: watch::Sender<usize>,
    written: watch::Sender<u32>,
    puts: JoinSet<Result<Stored>>,
    unindexed: Vec<Stored>,
}

/// A durable pack that no index run covers yet.
struct Stored {
    pack: IndexPack,
    entries: Vec<IndexEntry>,
}

impl Sender {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        loop {
            tokio::select! {
                biased;
                Some(put) = self.puts.join_next() => {
                    self.stored(put);
                    self.index_if_due().await;
                }
                order = inbox.recv(), if self.puts.len() < AT_ONCE => match order {
                    Some(Order::Pack(pack)) => self.put(*pack),
                    Some(Order::Flush { index, done }) => {
                        self.flush(index).await;
                        // Nobody waits any more: nothing to tell.
                        let _gone = done.send(());
                    }
                    None => break,
                },
            }
        }
    }

    fn put(&mut self, pack: FinishedPack) {
        let FinishedPack {
            header,
            bytes,
            contents,
        } = pack;
        let vault = Arc::clone(&self.vault);
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let bytes = self.bodies.lend(bytes);
        self.puts.spawn(async move {
            vault.store.put_new(&name::pack(&header.id), bytes).await?;
            let entries = known::entries_of(&contents);
            // Before a run tells of it: who reads that knows then whose it is.
            vault.trust.note_pack(header.id, &entries);
            let pack = IndexPack {
                id: header.id,
                size,
                kind: header.kind,
            };
            Ok(Stored { pack, entries })
        });
    }

    fn stored(&mut self, put: std::result::Result<Result<Stored>, tokio::task::JoinError>) {
        self.waiting
            .send_modify(|waiting| *waiting = waiting.saturating_sub(1));
        match put {
            Ok(Ok(stored)) => self.unindexed.push(stored),
            Ok(Err(error)) => self.fail(error),
            Err(error) => self.fail(Error::system("store a pack").because(error)),
        }
    }

    fn fail(&self, error: Error) {
        // The first error is the cause; later ones follow from it.
        let _later = self.first_error.set(error);
    }

    async fn flush(&mut self, index: bool) {
        while let Some(put) = self.puts.join_next().await {
            self.stored(put);
        }
        if index {
            self.index().await;
        }
    }

    async fn index_if_due(&mut self) {
        let written = *self.written.borrow() as usize;
        if self.unindexed.len() >= (FEW_PACKS * (1 + written / 2)).min(MANY_PACKS) {
            self.index().await;
        }
    }

    async fn index(&mut self) {
        if self.unindexed.is_empty() || self.first_error.get().is_some() {
            return;
        }
        match self.put_index().await {
            Ok(()) => self.written.send_modify(|written| *written += 1),
            Err(error) => self.fail(error),
        }
    }

    async fn put_index(&mut self) -> Result<()> {
        let number = *self.written.borrow();
        let object = name::index_run(self.session, number);
        let stored = std::mem::take(&mut self.unindexed);
        let header = IndexHeader {
            vault: self.vault.id,
            session: self.session,
            number,
            epoch: self.vault.epoch,
            salt: random()?,
            packs: stored.iter().map(|stored| stored.pack).collect(),
        };
        let entries = stored
            .into_iter()
            .flat_map(|stored| stored.entries)
            .collect();
        let vault = Arc::clone(&self.vault);
        let run = IndexRun { header, entries };
        let encoded = self
            .vault
            .pool
            .run(move || run.encode(&vault.ring.get().ring))
            .await;
        let encoded = encoded.map_err(|error| Error::system("make an index run").because(error))?;
        let encoded = encoded.map_err(|error| Error::format(&object, error))?;
        self.vault
            .store
            .put_new(&object, Bytes::from(encoded))
            .await
    }
}
