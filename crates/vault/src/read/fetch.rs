//! Reading a stream fast: many reads under way, pieces in the order they arrive.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tresor_model::Extent;
use tresor_vault_format::limits::{CHUNK_SIZE, FRAME_LIMIT};
use tresor_vault_format::{PackKind, frame, name};

use crate::error::{Error, Result};
use crate::read::plan::{PlannedFrame, PlannedRead, plan_reads};
use crate::read::reader::{LEAF, MOVES, StreamReader, chunks_of, verified};

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
            for read in plan_reads(chunks) {
                let Ok(permit) = Arc::clone(&self.reads).acquire_owned().await else {
                    return;
                };
                if self.sender.is_closed() {
                    return;
                }
                let (reader, window) = (Arc::clone(&self.reader), self.window);
                let sender = self.sender.clone();
                tokio::spawn(async move {
                    perform(&reader, window, read, &sender, MOVES).await;
                    drop(permit);
                });
            }
        }
    }

    /// The chunks of the next leaves, and the leaf behind them. A node that is lost is reported,
    /// and what lies below it skipped.
    async fn gather(&self, mut next: u64) -> (Vec<(u64, tresor_vault_format::LeafChunk)>, u64) {
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
                    // The receiver may be gone; then the caller's check ends the loop.
                    let _gone = self.sender.send(Err(self.reader.lost_node(&lost))).await;
                    next = lost.end.max(next + 1);
                }
            }
        }
        (chunks, next)
    }
}

/// Reads, opens, verifies and sends. Errors are sent for each chunk that they hit. What collect has
/// moved meanwhile is read where it is now, up to `moves` times.
async fn perform(
    reader: &Arc<StreamReader>,
    window: Extent,
    read: PlannedRead,
    sender: &Sender,
    moves: u32,
) {
    let object = name::pack(&read.pack);
    let range = u64::from(read.range.start)..u64::from(read.range.end);
    let stored = match reader.vault.store.get_range(&object, range).await {
        Ok(stored) => stored,
        Err(error) if error.is_gone() && moves > 0 => {
            for read in find_moved(reader, &read.frames, &error, sender).await {
                Box::pin(perform(reader, window, read, sender, moves - 1)).await;
            }
            return;
        }
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
                Box::pin(perform(reader, window, alone, sender, moves)).await;
            }
            return;
        }
        Err(error) => return report(reader, &read.frames, &error, sender).await,
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
        let pieces = match opened {
            Ok(pieces) => pieces,
            Err(error) => vec![Err(Error::system("open a frame").because(error))],
        };
        for piece in pieces {
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    }
}

/// The reads for chunks whose pack is gone. Those that nobody knows are reported.
async fn find_moved(
    reader: &StreamReader,
    frames: &[PlannedFrame],
    error: &Error,
    sender: &Sender,
) -> Vec<PlannedRead> {
    let mut found = Vec::new();
    for (offset, chunk) in frames.iter().flat_map(|frame| &frame.chunks) {
        let lost = match reader.moved(chunk).await {
            Ok(Some(chunk)) => {
                found.push((*offset, chunk));
                continue;
            }
            Ok(None) => reader.lost_chunk(*offset, chunk, error.clone()),
            Err(error) => error,
        };
        if sender.send(Err(lost)).await.is_err() {
            break;
        }
    }
    plan_reads(found)
}

async fn report(reader: &StreamReader, frames: &[PlannedFrame], error: &Error, sender: &Sender) {
    for (offset, chunk) in frames.iter().flat_map(|frame| &frame.chunks) {
        let lost = reader.lost_chunk(*offset, chunk, error.clone());
        if sender.send(Err(lost)).await.is_err() {
            return;
        }
    }
}

/// Runs on the pool. Chunks that follow each other in stream and frame become one piece.
fn open_frame(
    reader: &StreamReader,
    window: Extent,
    wanted: &PlannedFrame,
    stored: &Bytes,
) -> Vec<Result<Piece>> {
    let plain = match open(reader, wanted, stored) {
        Ok(plain) => plain,
        Err(error) => {
            let chunks = wanted.chunks.iter();
            return chunks
                .map(|(offset, chunk)| Err(reader.lost_chunk(*offset, chunk, error.clone())))
                .collect();
        }
    };
    let mut pieces = Vec::new();
    let mut run: Option<Run> = None;
    for (offset, chunk) in &wanted.chunks {
        if let Err(error) = verified(&reader.vault, &plain, chunk) {
            pieces.push(Err(reader.lost_chunk(*offset, chunk, error)));
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

fn open(reader: &StreamReader, wanted: &PlannedFrame, stored: &Bytes) -> Result<Bytes> {
    let pack = &wanted.location.pack;
    let key = reader.vault.ring.pack_key(pack, PackKind::Data);
    let plain = key.and_then(|key| frame::open(&key, &wanted.location, stored.to_vec()));
    plain
        .map(Bytes::from)
        .map_err(|error| Error::format(&name::pack(pack), error))
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
