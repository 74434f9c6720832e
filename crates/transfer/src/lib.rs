//! The way of the data: from a snapshot into a vault, and back onto disks.
//!
//! # Invariants
//! - Memory is bounded by the number of reads in flight, whatever the disk's size.
//! - A backup reads what the session lists as changed and nothing else (I9); what is known to be
//!   zero is not read.
//! - A restored image has its final name only when every byte of it is verified and durable.
//!
//! # Cancellation
//! Every loop looks at its token between pieces. A cancelled backup leaves chunks that no point
//! names; a cancelled restore leaves a `.partial` file and its journal, and goes on from there.

pub mod backup;
pub mod restore;

mod error;

pub use error::{Error, ErrorKind};
