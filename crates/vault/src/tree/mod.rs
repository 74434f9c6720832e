//! Manifest trees: written by merging changes into a base, read from the root.
//!
//! # Invariants
//! - Cost follows change (I9): a node is read only if something below it changes, and written
//!   only if its content became another. A stream that is read again and has not changed keeps
//!   its root.
//! - A node is sealed before its parent is encoded, because the parent holds its location.

mod diff;
mod nodes;
mod writer;

pub(crate) use diff::{Change, Diff};
pub(crate) use nodes::{LeafCursor, LostNode, leaves_below, load, load_at, root_child};
pub(crate) use writer::TreeWriter;

use tresor_vault_format::LeafChunk;
use tresor_vault_format::limits::FAN_OUT;

/// What becomes of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkUpdate {
    /// It stays what it is in the base.
    Keep,
    Zero,
    Data(LeafChunk),
}

/// What becomes of the chunks of a leaf.
pub(crate) type LeafUpdate = Box<[ChunkUpdate; FAN_OUT]>;
