//! Copying recovery points into another vault.
//!
//! The other vault has its own keys and ids: every chunk is opened, compared with its id, and written
//! through a session there like a backup's. So a copy is a verification of what it reads, and is
//! deduplicated with everything that the other vault has.
//!
//! A point is copied over one that was copied before: both trees of the first vault are walked in
//! step ([`crate::tree::Diff`]), and only what differs is read. docs/adr has why.
//!
//! # After a crash
//! What was sent is known to the next try, like that of any session that died.

mod plan;
mod point;
mod stream;

pub use plan::{CopyChoice, PlannedCopy, plan_copies};
pub use point::{Base, CopyOptions, CopyStats, ReadBack, copy_point};
pub(crate) use stream::write_extent;
