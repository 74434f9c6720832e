//! Reading parts of a stream.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tresor_model::{Extent, StreamName, StreamRecord};
use tresor_vault_format::limits::{CHUNK_SIZE, FAN_OUT};
use tresor_vault_format::{ChunkId, LeafChunk, Location, name};

use crate::error::{Error, ErrorKind, Result};
use crate::read::around::CopyOf;
use crate::tree::{LeafCursor, LostNode};
use crate::vault::{Inner, Vault};

pub(crate) const CHUNK: u64 = CHUNK_SIZE as u64;
pub(crate) const LEAF: u64 = CHUNK * FAN_OUT as u64;

/// How often a chunk is looked for again: collect may move it while it is read.
pub(super) const MOVES: u32 = 4;

/// What a range of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentKind {
    /// Stored chunks.
    Data,
    /// Zeros.
    Zero,
}

/// Reads one stream of a recovery point. Cheap to clone.
#[derive(Clone)]
pub struct StreamReader {
    pub(crate) vault: Arc<Inner>,
    pub(crate) name: StreamName,
    pub(crate) size: u64,
    pub(crate) tree: Arc<LeafCursor>,
    pub(super) copy_of: Option<Arc<CopyOf>>,
}

impl Vault {
    /// A reader for a stream of a recovery point.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] when the record is not from a recovery point.
    pub fn reader(&self, stream: &StreamRecord) -> Result<StreamReader> {
        Ok(StreamReader {
            vault: Arc::clone(&self.inner),
            name: stream.name.clone(),
            size: stream.size,
            tree: Arc::new(LeafCursor::new(stream)?),
            copy_of: self
                .copies
                .clone()
                .map(|copies| Arc::new(CopyOf::new(copies))),
        })
    }
}

impl StreamReader {
    /// Size of the stream in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of a range; shorter when the stream ends in it.
    ///
    /// # Errors
    /// [`ErrorKind::ChunkDamaged`]; when the storage fails. Holds the range in memory: for large
    /// ones see [`Self::fetch`].
    pub async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        let end = offset.saturating_add(length as u64).min(self.size);
        let window = Extent::between(offset, end);
        let length = usize::try_from(window.length).map_err(|_| too_large())?;
        let chunks = match self.chunks(window).await {
            Ok(chunks) => chunks,
            Err(error) => match self.copy().await {
                Some((copy, place)) if error.is_damage() => {
                    self.note_copied(&error, place, window);
                    return Box::pin(copy.read_at(offset, length)).await;
                }
                _ => return Err(error),
            },
        };
        let mut out = BytesMut::zeroed(length);
        for (at, chunk) in chunks {
            let plain = self.chunk(at, &chunk).await?;
            let part = Extent {
                start: at,
                length: CHUNK,
            }
            .intersect(&window);
            let (from, to) = (within(at, &part)?, within(offset, &part)?);
            out[to].copy_from_slice(&plain[from]);
        }
        Ok(out.freeze())
    }

    /// Data and zeros within `window`, in rising order, without gaps, neighbours of one kind
    /// joined. Reads the manifest only.
    ///
    /// # Errors
    /// [`ErrorKind::ChunkDamaged`] when a node of the manifest is; when the storage fails.
    pub async fn extents(&self, window: Extent) -> Result<Vec<(Extent, ExtentKind)>> {
        let window = window.intersect(&Extent::between(0, self.size));
        let mut extents: Vec<(Extent, ExtentKind)> = Vec::new();
        let mut push = |start: u64, end: u64, kind| match extents.last_mut() {
            _ if start >= end => {}
            Some((last, of)) if *of == kind => *last = Extent::between(last.start, end),
            _ => extents.push((Extent::between(start, end), kind)),
        };
        let chunks = match self.chunks(window).await {
            Ok(chunks) => chunks,
            Err(error) => match self.copy().await {
                Some((copy, _)) if error.is_damage() => {
                    return Box::pin(copy.extents(window)).await;
                }
                _ => return Err(error),
            },
        };
        let mut at = window.start;
        for (start, _) in chunks {
            let data = Extent {
                start,
                length: CHUNK,
            }
            .intersect(&window);
            push(at, data.start, ExtentKind::Zero);
            push(data.start, data.end(), ExtentKind::Data);
            at = data.end();
        }
        push(at, window.end(), ExtentKind::Zero);
        Ok(extents)
    }

    /// Offset and place of each stored chunk that touches `window`.
    pub(super) async fn chunks(&self, window: Extent) -> Result<Vec<(u64, LeafChunk)>> {
        let mut found = Vec::new();
        let mut next = window.start / LEAF;
        while next * LEAF < window.end() {
            let leaf = self.tree.next(&self.vault, next).await;
            let Some((index, chunks)) = leaf.map_err(|lost| self.lost_node(&lost))? else {
                break;
            };
            found.extend(chunks_of(index, &chunks).filter(|(at, _)| {
                !Extent {
                    start: *at,
                    length: CHUNK,
                }
                .intersect(&window)
                .is_empty()
            }));
            next = index + 1;
        }
        Ok(found)
    }

    async fn chunk(&self, at: u64, chunk: &LeafChunk) -> Result<Bytes> {
        let mut place = *chunk;
        let mut plain = self.chunk_at(&place).await;
        for _ in 0..MOVES {
            match &plain {
                Err(error) if error.is_gone() => {}
                _ => break,
            }
            let Some(moved) = self.moved(&place).await? else {
                break;
            };
            place = moved;
            plain = self.chunk_at(&place).await;
        }
        match plain {
            Ok(plain) => Ok(plain),
            Err(error) => self.chunk_around(at, &place, error).await,
        }
    }

    /// The chunk where it is now, when collect has deleted its pack; `None` when nobody knows.
    pub(super) async fn moved(&self, chunk: &LeafChunk) -> Result<Option<LeafChunk>> {
        let vault = &self.vault;
        let found = vault.moved.locate(vault, &chunk.frame.pack, &chunk.id.0);
        let found = found.await?;
        Ok(found.and_then(|found| chunk_at(chunk.id, &found.location)))
    }

    /// An error of the storage or of a format, as damage of a chunk where it is one.
    pub(crate) fn lost_chunk(&self, offset: u64, chunk: &LeafChunk, error: Error) -> Error {
        self.lost(chunk.id.to_string(), offset, error)
    }

    pub(crate) fn lost_node(&self, lost: &LostNode) -> Error {
        self.lost(
            lost.child.id.to_string(),
            lost.first * LEAF,
            lost.error.clone(),
        )
    }

    fn lost(&self, chunk: String, offset: u64, error: Error) -> Error {
        let Some((object, reason)) = error.object_and_reason() else {
            return error;
        };
        let stream = self.name.clone();
        Error::new(ErrorKind::ChunkDamaged {
            chunk,
            stream,
            offset,
            object,
            reason,
        })
        .because(error)
    }
}

/// The chunks of a leaf with their offsets.
pub(crate) fn chunks_of(
    index: u64,
    chunks: &[Option<LeafChunk>; FAN_OUT],
) -> impl Iterator<Item = (u64, LeafChunk)> {
    let offsets = (0..).map(move |slot| index * LEAF + slot * CHUNK);
    offsets
        .zip(chunks)
        .filter_map(|(offset, chunk)| Some((offset, (*chunk)?)))
}

/// The chunk of that id, if the place can be one of a chunk.
pub(crate) fn chunk_at(id: ChunkId, location: &Location) -> Option<LeafChunk> {
    let at = location.at as usize;
    let whole = location.size as usize == CHUNK_SIZE && at.is_multiple_of(CHUNK_SIZE);
    let slot = whole.then_some(at / CHUNK_SIZE)?;
    Some(LeafChunk {
        id,
        frame: location.frame,
        slot: u8::try_from(slot).ok()?,
    })
}

/// The chunk's bytes in its opened frame, if they are the chunk's.
pub(crate) fn verified(vault: &Inner, frame: &Bytes, chunk: &LeafChunk) -> Result<Bytes> {
    let object = || name::pack(&chunk.frame.pack);
    let at = usize::from(chunk.slot) * CHUNK_SIZE;
    if frame.len() < at + CHUNK_SIZE {
        return Err(Error::damaged(
            object(),
            "the chunk lies outside of its frame",
        ));
    }
    let plain = frame.slice(at..at + CHUNK_SIZE);
    let ids = vault.ring.id_key(chunk.frame.pack.epoch());
    let ids = ids.map_err(|error| Error::format(&object(), error))?;
    let found: ChunkId = ids.chunk_id(&plain);
    if found == chunk.id {
        Ok(plain)
    } else {
        Err(Error::damaged(
            object(),
            "the bytes are those of another chunk",
        ))
    }
}

/// Where a part lies in a buffer that begins at `start`.
fn within(start: u64, part: &Extent) -> Result<Range<usize>> {
    let from = usize::try_from(part.start - start).map_err(|_| too_large())?;
    let to = usize::try_from(part.end() - start).map_err(|_| too_large())?;
    Ok(from..to)
}

fn too_large() -> Error {
    Error::misuse("a range to read at once fits into memory")
}
