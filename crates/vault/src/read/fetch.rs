//! Reading a stream fast: many reads under way, pieces in the order they arrive.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tresor_model::Extent;
use tresor_vault_format::LeafChunk;

use crate::error::Result;
use crate::read::perform::perform;
use crate::read::plan::plan_reads;
use crate::read::reader::{CHUNK, LEAF, MOVES, StreamReader, chunks_of};
use crate::tree::LostNode;

/// Leaves that are planned together: 16 MiB of the stream, so that frames are read once and
/// reads are long.
const LEAVES_AT_ONCE: usize = 4;

/// Verified bytes of a stream. Zeros are not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// First byte within the stream.
    pub offset: u64,
    /// The bytes, at most 1 MiB.
    pub bytes: Bytes,
}

/// Pieces on their way. Dropping it stops the reading.
pub struct Fetch {
    pieces: mpsc::Receiver<Result<Piece>>,
    planner: JoinHandle<()>,
}

impl Fetch {
    /// The next piece, or the damage of the next chunk; `None` when that was all.
    ///
    /// After damage there may be more pieces: whoever restores stops, whoever verifies goes on.
    pub async fn next(&mut self) -> Option<Result<Piece>> {
        self.pieces.recv().await
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.planner.abort();
    }
}

impl StreamReader {
    /// Reads all data within `window`, with up to `parallelism` reads under way. Holds at most
    /// about 9 MiB for each of them. Every piece was verified; order is not kept.
    #[must_use]
    pub fn fetch(&self, window: Extent, parallelism: usize) -> Fetch {
        let parallelism = parallelism.clamp(1, 64);
        let (sender, pieces) = mpsc::channel(parallelism);
        let window = window.intersect(&Extent::between(0, self.size));
        let reader = Arc::new(self.clone());
        let planner = Planner {
            reader,
            window,
            sender,
            reads: Arc::new(Semaphore::new(parallelism)),
        };
        Fetch {
            pieces,
            planner: tokio::spawn(planner.run()),
        }
    }
}

impl StreamReader {
    /// The same for these chunks only.
    pub(crate) fn fetch_chunks(&self, chunks: Vec<(u64, LeafChunk)>, parallelism: usize) -> Fetch {
        let parallelism = parallelism.clamp(1, 64);
        let (sender, pieces) = mpsc::channel(parallelism);
        let planner = Planner {
            reader: Arc::new(self.clone()),
            window: Extent::between(0, self.size),
            sender,
            reads: Arc::new(Semaphore::new(parallelism)),
        };
        let work = async move {
            planner.start(chunks).await;
        };
        Fetch {
            pieces,
            planner: tokio::spawn(work),
        }
    }
}

pub(super) type Sender = mpsc::Sender<Result<Piece>>;

struct Planner {
    reader: Arc<StreamReader>,
    window: Extent,
    sender: Sender,
    reads: Arc<Semaphore>,
}

impl Planner {
    /// Ends early when nobody takes the pieces any more.
    async fn run(self) {
        let mut next = self.window.start / LEAF;
        while next * LEAF < self.window.end() {
            let (chunks, behind) = self.gather(next).await;
            next = behind;
            if !self.start(chunks).await {
                return;
            }
        }
    }

    /// Sets the reads of these chunks going. False: nobody takes the pieces any more.
    async fn start(&self, chunks: Vec<(u64, LeafChunk)>) -> bool {
        for read in plan_reads(chunks) {
            let Ok(permit) = Arc::clone(&self.reads).acquire_owned().await else {
                return false;
            };
            if self.sender.is_closed() {
                return false;
            }
            let (reader, window) = (Arc::clone(&self.reader), self.window);
            let sender = self.sender.clone();
            tokio::spawn(async move {
                perform(&reader, window, read, &sender, MOVES).await;
                drop(permit);
            });
        }
        true
    }

    /// The chunks of the next leaves, and the leaf behind them. A node that is lost is reported,
    /// and what lies below it skipped.
    async fn gather(&self, mut next: u64) -> (Vec<(u64, LeafChunk)>, u64) {
        let mut chunks = Vec::new();
        for _ in 0..LEAVES_AT_ONCE {
            if next * LEAF >= self.window.end() {
                break;
            }
            match self.reader.tree.next(&self.reader.vault, next).await {
                Ok(Some((index, leaf))) => {
                    chunks.extend(chunks_of(index, &leaf).filter(|(at, _)| {
                        let chunk = Extent {
                            start: *at,
                            length: CHUNK,
                        };
                        !chunk.intersect(&self.window).is_empty()
                    }));
                    next = index + 1;
                }
                Ok(None) => next = u64::MAX / LEAF,
                Err(lost) => {
                    if !self.send_from_copy(&lost).await {
                        // The receiver may be gone; then the caller's check ends the loop.
                        let _gone = self.sender.send(Err(self.reader.lost_node(&lost))).await;
                    }
                    next = lost.end.max(next + 1);
                }
            }
        }
        (chunks, next)
    }

    /// Sends what lies below a lost node from a copy. False: there is none, or it is damaged too.
    async fn send_from_copy(&self, lost: &LostNode) -> bool {
        let Some((copy, place)) = self.reader.copy().await else {
            return false;
        };
        let below = Extent::between(lost.first * LEAF, lost.end.saturating_mul(LEAF));
        let range = below.intersect(&self.window);
        let mut pieces = copy.fetch(range, self.reads.available_permits());
        while let Some(piece) = pieces.next().await {
            let Ok(piece) = piece else { return false };
            if self.sender.send(Ok(piece)).await.is_err() {
                return true;
            }
        }
        let error = self.reader.lost_node(lost);
        self.reader.note_copied(&error, place, range);
        true
    }
}
