//! The format of a vault: bytes in, `Result` out. No I/O, no clock, no randomness.
//!
//! The layouts are in docs/format/, byte by byte; each module names its page.
//!
//! # Invariants
//! - Decoders never panic, whatever the bytes, and never allocate by a length that they have not
//!   compared with its limit or with the bytes that are there (I8).
//! - Every object says what it is and in which version; a version above ours is an error that
//!   says so, never a guess.
//! - Every object ends in a hash that needs no key (damage is found by anybody), and everything
//!   that matters is under a seal as well (change is found by key holders).
//! - Encoders are deterministic: ids, salts and times come from the caller.

mod codec;
mod damaged;
pub mod database;
mod error;
mod expired;
pub mod frame;
mod header;
mod id;
mod index;
mod keys;
pub mod limits;
pub mod name;
mod node;
mod pack;
mod plan;
mod seal;
mod session;
mod stamp;
mod state;

pub use damaged::DamageMark;
pub use error::{Error, ErrorKind, Result};
pub use expired::ExpiryMark;
pub use header::VaultHeader;
pub use id::{
    ChunkId, DomainId, FrameLocation, Location, NodeId, PackId, node_ref, parse_node_ref,
};
pub use index::{INDEX_FIXED, IndexEntry, IndexHeader, IndexLayout, IndexPack, IndexRun};
pub use keys::{
    Argon2Cost, DataKey, DomainKeys, IdKey, KeyRing, KeySlot, RecoveryKey, RingHeader, Secret,
    SlotKind, owner_domain, owner_secret,
};
pub use node::{Child, LeafChunk, NODE_LIMIT, Node, node_span, root_level};
pub use pack::{
    FinishedPack, HEADER_LEN, PackContents, PackFrame, PackHeader, PackKind, PackTail, PackWriter,
    PublicFrame, TRAILER_LEN, TailLayout,
};
pub use plan::{MovedTo, Plan, PlanClaim, PlanDone, PlanVerdict};
pub use seal::SealKey;
pub use session::{Commit, CommitBody, END_FIRST, Outcome, SessionBegin, SessionEnd};
pub use state::{PointState, VaultLock};
