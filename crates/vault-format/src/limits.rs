//! Bounds that every decoder checks before it allocates (invariant I8).

/// Size of a chunk in bytes: the grain of deduplication and of dirty bitmaps.
pub const CHUNK_SIZE: usize = 64 << 10;
/// Most plain bytes in a frame.
pub const FRAME_LIMIT: usize = 1 << 20;
/// Most chunks in a frame.
pub const FRAME_CHUNKS: usize = FRAME_LIMIT / CHUNK_SIZE;
/// Most bytes of a pack.
pub const PACK_LIMIT: usize = 128 << 20;
/// Most frames of a pack.
pub const PACK_FRAMES: usize = 1 << 15;
/// Most entries (chunks or nodes) of a pack.
pub const PACK_ENTRIES: usize = 1 << 19;
/// Most bytes of an index run.
pub const INDEX_LIMIT: usize = 256 << 20;
/// Most packs of an index run.
pub const INDEX_PACKS: usize = 1 << 16;
/// Entries of a full block of an index run.
pub const INDEX_BLOCK_ENTRIES: usize = 1024;
/// Most bytes of a session's begin object, a key slot, a key ring or the vault header.
pub const SMALL_OBJECT: usize = 64 << 10;
/// Most bytes of a session's end object.
pub const END_LIMIT: usize = 64 << 20;
/// Most bytes of a recovery point's record before compression.
pub const RECORD_LIMIT: usize = 64 << 20;
/// Most bytes of a recovery point's summary.
pub const SUMMARY_LIMIT: usize = 64 << 10;
/// Most tree packs that one session writes.
pub const TREE_PACKS: usize = 1 << 16;
/// Children of a manifest node; chunks of a leaf.
pub const FAN_OUT: usize = 64;
/// Highest level of a manifest node (a tree of this level covers 4 PiB).
pub const MAX_LEVEL: u8 = 5;
/// Most bytes of an object of collect's plans.
pub const PLAN_LIMIT: usize = 256 << 20;
/// Most entries of each list of a plan.
pub const PLAN_ENTRIES: usize = 1 << 22;
