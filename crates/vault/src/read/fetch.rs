//! Reading a stream fast: many reads under way, pieces in the order they arrive.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tresor_model::Extent;
use tresor_vault_format::limits::{CHUNK_SIZE, FRAME_LIMIT};
use tresor_vault_format::{LeafChunk, PackKind, name};

use crate::error::{Error, Result};
use crate::read::open::{Memory, bytes_to, open};
use crate::read::plan::{PlannedFrame, PlannedRead, plan_reads};
use crate::read::reader::{LEAF, StreamReader, chunks_of, verified};
use crate::tree::LostNode;

const CHUNK: u64 = CHUNK_SIZE as u64;
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

type Sender = mpsc::Sender<Result<Piece>>;

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
                perform(&reader, window, read, &sender).await;
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

/// Reads, opens, verifies and sends. Errors are sent for each chunk that they hit.
async fn perform(reader: &Arc<StreamReader>, window: Extent, read: PlannedRead, sender: &Sender) {
    let object = name::pack(&read.pack);
    let range = u64::from(read.range.start)..u64::from(read.range.end);
    let stored = match reader.vault.store.get_range(&object, range).await {
        Ok(stored) => stored,
        // One frame of several may lie beyond a truncated pack's end: ask for each by itself.
        Err(error) if read.frames.len() > 1 && error.object_and_reason().is_some() => {
            for frame in read.frames {
                let (start, length) = (frame.location.offset, frame.location.length);
                let range = start..start.saturating_add(length);
                let alone = PlannedRead {
                    pack: read.pack,
                    range,
                    frames: vec![frame],
                };
                Box::pin(perform(reader, window, alone, sender)).await;
            }
            return;
        }
        Err(error) => return report(reader, window, &read.frames, &error, sender).await,
    };
    for frame in read.frames {
        let start = (frame.location.offset - read.range.start) as usize;
        let part = stored.slice(start..start + frame.location.length as usize);
        let of = Arc::clone(reader);
        let opened = reader
            .vault
            .pool
            .run(move || open_frame(&of, window, &frame, &part))
            .await;
        let Ok(pieces) = opened else {
            let error = Error::system("open a frame");
            let _gone = sender.send(Err(error)).await;
            return;
        };
        for piece in pieces {
            let piece = match piece {
                Ok(piece) => Ok(piece),
                Err(lost) => instead(reader, window, *lost).await,
            };
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    }
}

/// A chunk that cannot be read where its leaf says.
struct LostChunk {
    offset: u64,
    chunk: LeafChunk,
    error: Error,
}

async fn report(
    reader: &StreamReader,
    window: Extent,
    frames: &[PlannedFrame],
    error: &Error,
    sender: &Sender,
) {
    for (offset, chunk) in frames.iter().flat_map(|frame| &frame.chunks) {
        let lost = LostChunk {
            offset: *offset,
            chunk: *chunk,
            error: error.clone(),
        };
        let piece = instead(reader, window, lost).await;
        if sender.send(piece).await.is_err() {
            return;
        }
    }
}

/// The chunk from another place, if it can be had.
async fn instead(reader: &StreamReader, window: Extent, lost: LostChunk) -> Result<Piece> {
    let LostChunk {
        offset,
        chunk,
        error,
    } = lost;
    let plain = reader.chunk_around(offset, &chunk, error).await?;
    let run = Run {
        offset,
        slot: 0,
        chunks: 1,
    };
    Ok(run.cut(&plain, window))
}

/// Runs on the pool. Chunks that follow each other in stream and frame become one piece.
fn open_frame(
    reader: &StreamReader,
    window: Extent,
    wanted: &PlannedFrame,
    stored: &Bytes,
) -> Vec<std::result::Result<Piece, Box<LostChunk>>> {
    let lost = |offset: u64, chunk: &LeafChunk, error: Error| {
        Err(Box::new(LostChunk {
            offset,
            chunk: *chunk,
            error,
        }))
    };
    let needed = wanted.chunks.iter().map(|(_, chunk)| bytes_to(chunk.slot));
    let needed = needed.max().unwrap_or(0);
    let (vault, at) = (&reader.vault, &wanted.location);
    let plain = match open(vault, at, PackKind::Data, stored, (needed, Memory::Lent)) {
        Ok(opened) => opened.plain,
        Err(error) => {
            let chunks = wanted.chunks.iter();
            return chunks
                .map(|(offset, chunk)| lost(*offset, chunk, error.clone()))
                .collect();
        }
    };
    let mut pieces = Vec::new();
    let mut run: Option<Run> = None;
    for (offset, chunk) in &wanted.chunks {
        if let Err(error) = verified(&reader.vault, &plain, chunk) {
            pieces.push(lost(*offset, chunk, error));
            continue;
        }
        let slot = u64::from(chunk.slot);
        match &mut run {
            Some(run) if run.is_followed_by(*offset, slot) => run.chunks += 1,
            run => {
                let before = run.replace(Run {
                    offset: *offset,
                    slot,
                    chunks: 1,
                });
                pieces.extend(before.map(|run| Ok(run.cut(&plain, window))));
            }
        }
    }
    pieces.extend(run.map(|run| Ok(run.cut(&plain, window))));
    pieces
}

/// Chunks that follow each other.
struct Run {
    offset: u64,
    slot: u64,
    chunks: u64,
}

impl Run {
    fn is_followed_by(&self, offset: u64, slot: u64) -> bool {
        offset == self.offset + self.chunks * CHUNK && slot == self.slot + self.chunks
    }

    /// Its bytes that lie within the window.
    fn cut(&self, plain: &Bytes, window: Extent) -> Piece {
        let all = Extent {
            start: self.offset,
            length: self.chunks * CHUNK,
        };
        let part = all.intersect(&window);
        let start = self.slot * CHUNK + (part.start - self.offset);
        let start = usize::try_from(start).unwrap_or(FRAME_LIMIT);
        let length = usize::try_from(part.length).unwrap_or(FRAME_LIMIT);
        Piece {
            offset: part.start,
            bytes: plain.slice(start..start + length),
        }
    }
}
