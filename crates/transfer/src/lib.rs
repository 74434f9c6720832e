//! The way of the data: from a snapshot into a vault, and back onto disks.
//!
//! # Invariants
//! - Memory is bounded by the number of reads in flight, whatever the disk's size.
//! - A backup reads what the session lists as changed and a share of the rest, to see whether the
//!   list is right (I6); what is known to be zero is not read (I9).
//! - Back-pressure ends here: a slow vault or a pace that is set make the reads wait, and nobody
//!   who writes to the disk.
//! - A restored image has its final name only when every byte of it is verified and durable.
//!
//! # Cancellation
//! Every loop looks at its token between pieces. A cancelled backup leaves chunks that no point
//! names; a cancelled restore leaves a `.partial` file and its journal, and goes on from there.

pub mod backup;
pub mod pace;
pub mod restore;

mod error;

pub use error::{Error, ErrorKind};
