//! Performing one planned read of a pack: opening its frames, verifying their chunks, sending them.

use std::sync::Arc;

use bytes::Bytes;
use tresor_model::Extent;
use tresor_vault_format::limits::FRAME_LIMIT;
use tresor_vault_format::{LeafChunk, PackKind, name};

use crate::error::{Error, Result};
use crate::read::fetch::{Piece, Sender};
use crate::read::open::{Memory, bytes_to, open};
use crate::read::plan::{PlannedFrame, PlannedRead, plan_reads};
use crate::read::reader::{CHUNK, StreamReader, verified};

/// Reads, opens, verifies and sends. Errors are sent for each chunk that they hit. What collect has
/// moved meanwhile is read where it is now, up to `moves` times.
pub(super) async fn perform(
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
            for read in find_moved(reader, window, &read.frames, &error, sender).await {
                Box::pin(perform(reader, window, read, sender, moves - 1)).await;
            }
            return;
        }
        // One frame of several may lie beyond a truncated pack's end: ask for each by itself.
        Err(error) if read.frames.len() > 1 && error.object_and_reason().is_some() => {
            for frame in read.frames {
                let alone = PlannedRead::of(frame);
                Box::pin(perform(reader, window, alone, sender, moves)).await;
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

/// The reads for chunks whose pack is gone. What no plan tells of is read from another place.
async fn find_moved(
    reader: &StreamReader,
    window: Extent,
    frames: &[PlannedFrame],
    error: &Error,
    sender: &Sender,
) -> Vec<PlannedRead> {
    let mut found = Vec::new();
    for (offset, chunk) in frames.iter().flat_map(|frame| &frame.chunks) {
        if let Ok(Some(chunk)) = reader.moved(chunk).await {
            found.push((*offset, chunk));
            continue;
        }
        let lost = LostChunk {
            offset: *offset,
            chunk: *chunk,
            error: error.clone(),
        };
        if sender
            .send(instead(reader, window, lost).await)
            .await
            .is_err()
        {
            break;
        }
    }
    plan_reads(found)
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
    vault.witness.saw(vault, wanted, &plain);
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
