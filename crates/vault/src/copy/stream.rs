//! One stream on its way from a vault into another.

use std::collections::BTreeMap;

use bytes::Bytes;
use tresor_model::{Extent, StreamRecord};
use tresor_vault_format::LeafChunk;

use crate::error::Result;
use crate::read::reader::{CHUNK, LEAF};
use crate::read::{Fetch, StreamReader};
use crate::session::StreamWriter;
use crate::tree::{Change, Diff};

/// Bytes that are read ahead of the writer, which takes them in order.
const WINDOW: u64 = 16 << 20;
/// Reads under way.
const READS: usize = 8;

/// Writes a part of a stream from a reader of it, zeros too. `progress` is told of the bytes of
/// each step.
pub(crate) async fn write_extent(
    reader: &StreamReader,
    writer: &mut StreamWriter,
    extent: Extent,
    progress: &mut (impl FnMut(u64) + Send),
) -> Result<()> {
    let mut start = extent.start;
    while start < extent.end() {
        let window = Extent::between(start, extent.end().min(start + WINDOW));
        let pieces = in_order(reader.fetch(window, READS)).await?;
        let mut at = window.start;
        for (offset, bytes) in pieces {
            if at < offset {
                writer.zero(Extent::between(at, offset)).await?;
            }
            at = offset + bytes.len() as u64;
            writer.write(offset, bytes).await?;
        }
        if at < window.end() {
            writer.zero(Extent::between(at, window.end())).await?;
        }
        progress(window.length);
        start = window.end();
    }
    Ok(())
}

async fn in_order(mut fetch: Fetch) -> Result<BTreeMap<u64, Bytes>> {
    let mut pieces = BTreeMap::new();
    while let Some(piece) = fetch.next().await {
        let piece = piece?;
        pieces.insert(piece.offset, piece.bytes);
    }
    Ok(pieces)
}

/// Writes what `stream` has and `before`, a stream of the same vault, has not. The writer was opened
/// over the copy of `before`.
pub(super) async fn write_changes(
    reader: &StreamReader,
    writer: &mut StreamWriter,
    (before, stream): (&StreamRecord, &StreamRecord),
    progress: &mut (impl FnMut(u64) + Send),
) -> Result<()> {
    let mut diff = Diff::new(&reader.vault, before, stream)?;
    let mut batch = Batch::default();
    let mut passed = 0;
    while let Some(change) = diff.next().await? {
        let end = batch.add(change, stream.size);
        if batch.data.len() as u64 * CHUNK >= WINDOW || batch.zeros.len() >= 4096 {
            std::mem::take(&mut batch).write(reader, writer).await?;
            progress(end.saturating_sub(passed));
            passed = end;
        }
    }
    batch.write(reader, writer).await?;
    progress(stream.size.saturating_sub(passed));
    Ok(())
}

/// Differences that are written together.
#[derive(Default)]
struct Batch {
    data: Vec<(u64, LeafChunk)>,
    zeros: Vec<Extent>,
}

impl Batch {
    /// Gives where the difference ends.
    fn add(&mut self, change: Change, size: u64) -> u64 {
        match change {
            Change::Zeros(leaves) => {
                let end = leaves.end.saturating_mul(LEAF).min(size);
                self.zero(Extent::between(leaves.start * LEAF, end));
                end
            }
            Change::Chunks(leaf, chunks) => {
                for (slot, chunk) in chunks {
                    let at = leaf * LEAF + slot as u64 * CHUNK;
                    match chunk {
                        Some(chunk) => self.data.push((at, chunk)),
                        None => self.zero(Extent::between(at, size.min(at + CHUNK))),
                    }
                }
                size.min((leaf + 1) * LEAF)
            }
        }
    }

    fn zero(&mut self, extent: Extent) {
        match self.zeros.last_mut() {
            _ if extent.is_empty() => {}
            Some(last) if last.end() == extent.start => last.length += extent.length,
            _ => self.zeros.push(extent),
        }
    }

    async fn write(self, reader: &StreamReader, writer: &mut StreamWriter) -> Result<()> {
        let pieces = in_order(reader.fetch_chunks(self.data, READS)).await?;
        let mut zeros = self.zeros.into_iter().peekable();
        for (offset, bytes) in pieces {
            while let Some(zero) = zeros.next_if(|zero| zero.start < offset) {
                writer.zero(zero).await?;
            }
            writer.write(offset, bytes).await?;
        }
        for zero in zeros {
            writer.zero(zero).await?;
        }
        Ok(())
    }
}
