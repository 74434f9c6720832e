//! Nodes of manifest trees. Layout: docs/format/manifest.md.
//!
//! A node is its content (which chunks, which children: ids) and hints (where they lie). Its id
//! is the hash of the content alone, so that hints can be renewed when packs are rewritten, and
//! every parent, up to the recovery point, stays as it is.

use crate::codec::{Reader, len_u32};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::FRAME_STORED_LIMIT;
use crate::id::{ChunkId, FrameLocation, Location, NodeId, PackId};
use crate::keys::IdKey;
use crate::limits::{CHUNK_SIZE, FAN_OUT, FRAME_CHUNKS, FRAME_LIMIT, MAX_LEVEL, PACK_LIMIT};

const VERSION: u8 = 1;
const PART: &str = "manifest node";
const HEAD_LEN: usize = 12;
/// Most bytes of a node.
pub const NODE_LIMIT: usize = HEAD_LEN + FAN_OUT * (32 + 24 + 9) + 1;

/// Bytes of a stream that a node of `level` covers.
#[must_use]
pub const fn node_span(level: u8) -> u64 {
    ((CHUNK_SIZE * FAN_OUT) as u64) << (6 * level as u32)
}

/// The level of the root of a stream of `size` bytes.
///
/// # Errors
/// When no tree is that large.
pub fn root_level(size: u64) -> Result<u8> {
    (0..=MAX_LEVEL)
        .find(|level| node_span(*level) >= size)
        .ok_or(Error::new(ErrorKind::TooLarge, "stream"))
}

/// A chunk in a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafChunk {
    /// Its id.
    pub id: ChunkId,
    /// The frame that holds it.
    pub frame: FrameLocation,
    /// Its number within the frame.
    pub slot: u8,
}

impl LeafChunk {
    /// Where it lies.
    #[must_use]
    pub fn location(&self) -> Location {
        Location {
            frame: self.frame,
            at: u32::from(self.slot) * len_u32(CHUNK_SIZE),
            size: len_u32(CHUNK_SIZE),
        }
    }
}

/// A child of an inner node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child {
    /// Its id.
    pub id: NodeId,
    /// Where it lies.
    pub location: Location,
}

/// 64 chunks, or 64 nodes of the level below. What is `None` is all zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Level 0.
    Leaf(Box<[Option<LeafChunk>; FAN_OUT]>),
    /// Levels 1 to [`MAX_LEVEL`].
    Inner(u8, Box<[Option<Child>; FAN_OUT]>),
}

impl Node {
    /// A node of zeros.
    #[must_use]
    pub fn empty(level: u8) -> Self {
        match level {
            0 => Self::Leaf(Box::new([None; FAN_OUT])),
            level => Self::Inner(level, Box::new([None; FAN_OUT])),
        }
    }

    /// Its level.
    #[must_use]
    pub const fn level(&self) -> u8 {
        match self {
            Self::Leaf(_) => 0,
            Self::Inner(level, _) => *level,
        }
    }

    /// Whether it is all zeros. Such nodes are not stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(chunks) => chunks.iter().all(Option::is_none),
            Self::Inner(_, children) => children.iter().all(Option::is_none),
        }
    }

    /// The id and the bytes.
    #[must_use]
    pub fn encode(&self, key: &IdKey) -> (NodeId, Vec<u8>) {
        let mut out = Vec::with_capacity(NODE_LIMIT);
        out.extend_from_slice(&[VERSION, self.level(), 0, 0]);
        match self {
            Self::Leaf(chunks) => write_ids(
                &mut out,
                chunks.each_ref().map(|chunk| chunk.map(|c| c.id.0)),
            ),
            Self::Inner(_, children) => {
                write_ids(
                    &mut out,
                    children.each_ref().map(|child| child.map(|c| c.id.0)),
                );
            }
        }
        let id = key.node_id(&out);
        match self {
            Self::Leaf(chunks) => {
                let frames = write_frames(&mut out, chunks.iter().flatten().map(|c| c.frame));
                for chunk in chunks.iter().flatten() {
                    out.extend_from_slice(&[number_in(&frames, &chunk.frame), chunk.slot]);
                }
            }
            Self::Inner(_, children) => {
                let of = |child: &Child| child.location.frame;
                let frames = write_frames(&mut out, children.iter().flatten().map(of));
                for child in children.iter().flatten() {
                    out.push(number_in(&frames, &child.location.frame));
                    out.extend_from_slice(&child.location.at.to_le_bytes());
                    out.extend_from_slice(&child.location.size.to_le_bytes());
                }
            }
        }
        (id, out)
    }

    /// Reads a node and checks that it is the one of that id and level.
    ///
    /// # Errors
    /// [`ErrorKind::CheckFailed`] when it is another node; else when the bytes are not those of
    /// a node that this version can read.
    pub fn decode(bytes: &[u8], id: &NodeId, level: u8, key: &IdKey) -> Result<Self> {
        let node = Self::parse(bytes)?;
        let content_len = HEAD_LEN + 32 * node.count();
        if key.node_id(&bytes[..content_len]) != *id || node.level() != level {
            return Err(Error::new(ErrorKind::CheckFailed, PART));
        }
        Ok(node)
    }

    fn count(&self) -> usize {
        match self {
            Self::Leaf(chunks) => chunks.iter().flatten().count(),
            Self::Inner(_, children) => children.iter().flatten().count(),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > NODE_LIMIT {
            return Err(Error::new(ErrorKind::TooLarge, PART));
        }
        let mut reader = Reader::new(bytes, PART);
        match reader.u8()? {
            VERSION => {}
            other => {
                let found = u16::from(other);
                return Err(Error::new(ErrorKind::VersionUnknown { found }, PART));
            }
        }
        let level = reader.u8()?;
        reader.reserved(2)?;
        let ids = read_ids(&mut reader)?;
        let frames = read_frames(&mut reader)?;
        let frame = |number: u8| {
            let found = frames.get(usize::from(number)).copied();
            found.ok_or(Error::malformed(PART))
        };
        let mut node = Self::empty(level);
        match &mut node {
            Self::Leaf(chunks) => {
                for (at, id) in ids {
                    let (frame, slot) = (frame(reader.u8()?)?, reader.u8()?);
                    if usize::from(slot) >= FRAME_CHUNKS {
                        return Err(Error::malformed(PART));
                    }
                    chunks[at] = Some(LeafChunk {
                        id: ChunkId(id),
                        frame,
                        slot,
                    });
                }
            }
            Self::Inner(level, _) if *level > MAX_LEVEL => return Err(Error::malformed(PART)),
            Self::Inner(_, children) => {
                for (at, id) in ids {
                    let frame = frame(reader.u8()?)?;
                    let location = Location {
                        frame,
                        at: reader.u32()?,
                        size: reader.u32()?,
                    };
                    check_child(&location)?;
                    children[at] = Some(Child {
                        id: NodeId(id),
                        location,
                    });
                }
            }
        }
        reader.finish()?;
        Ok(node)
    }
}

fn check_child(location: &Location) -> Result<()> {
    let end = u64::from(location.at) + u64::from(location.size);
    if location.size as usize <= NODE_LIMIT && end <= FRAME_LIMIT as u64 {
        Ok(())
    } else {
        Err(Error::malformed(PART))
    }
}

/// A bit for each place that is there, then their ids.
fn write_ids(out: &mut Vec<u8>, ids: [Option<[u8; 32]>; FAN_OUT]) {
    let bits = ids
        .iter()
        .rev()
        .fold(0_u64, |bits, id| bits << 1 | u64::from(id.is_some()));
    out.extend_from_slice(&bits.to_le_bytes());
    for id in ids.iter().flatten() {
        out.extend_from_slice(id);
    }
}

fn read_ids(reader: &mut Reader<'_>) -> Result<Vec<(usize, [u8; 32])>> {
    let bits = reader.u64()?;
    (0..FAN_OUT)
        .filter(|at| bits >> at & 1 == 1)
        .map(|at| Ok((at, reader.array()?)))
        .collect()
}

/// The frames of the hints, each once; gives them in the order of their numbers.
fn write_frames(
    out: &mut Vec<u8>,
    frames: impl Iterator<Item = FrameLocation>,
) -> Vec<FrameLocation> {
    let mut table: Vec<FrameLocation> = Vec::new();
    for frame in frames {
        if !table.contains(&frame) {
            table.push(frame);
        }
    }
    out.push(u8::try_from(table.len()).unwrap_or(u8::MAX));
    for frame in &table {
        out.extend_from_slice(&frame.pack.0);
        out.extend_from_slice(&frame.offset.to_le_bytes());
        out.extend_from_slice(&frame.length.to_le_bytes());
    }
    table
}

fn number_in(frames: &[FrameLocation], frame: &FrameLocation) -> u8 {
    let at = frames.iter().position(|other| other == frame);
    at.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

fn read_frames(reader: &mut Reader<'_>) -> Result<Vec<FrameLocation>> {
    let count = usize::from(reader.u8()?);
    if count > FAN_OUT {
        return Err(Error::new(ErrorKind::TooLarge, PART));
    }
    (0..count)
        .map(|_| {
            let pack = PackId(reader.array()?);
            let offset = reader.u32()?;
            let length = reader.len32(FRAME_STORED_LIMIT)?;
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            if u64::from(offset) + u64::from(length) > PACK_LIMIT as u64 {
                return Err(Error::malformed(PART));
            }
            Ok(FrameLocation {
                pack,
                offset,
                length,
            })
        })
        .collect()
}
