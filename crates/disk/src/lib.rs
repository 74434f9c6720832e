//! The port to whatever takes snapshots of a VM's disks (QEMU first).
//!
//! # Order of calls
//! ```text
//! describe → prepare ─┬→ take ─→ extents/read … ─→ Session::end(outcome)
//!                     └→ Prepared::abandon
//! release(tag, outcome): at any time, by anybody, any number of times
//! ```
//! All slow work belongs in `prepare`; `take` is what runs while the guest is frozen, and does
//! nothing but the swap.
//!
//! # Invariants
//! - All disks of a session show the same point in time.
//! - Nothing here can fail a guest write or stop the VM for longer than the swap: when copies for
//!   the snapshot cannot be kept, the snapshot is lost ([`ErrorKind::SnapshotLost`]), not the VM.
//! - Everything left in the hypervisor or on the host carries the tag (I5).
//! - Until `end` or `release` with [`Outcome::Committed`], the previous bitmap can still be
//!   restored, so that the next backup is incremental again.
//!
//! # After a crash
//! `release(tag, …)` needs no session: it finds by tag what is there and ends in the same state
//! as `Session::end` would. It may run twice or beside a VM that has been restarted meanwhile.

mod error;
mod provider;

pub use error::{Error, ErrorKind};
pub use provider::{
    BitmapJudgement, Capabilities, ChangedExtent, DiskReader, DiskRequest, ExtentKind, GuestWrites,
    Orphan, Outcome, PauseMode, PrepareRequest, Prepared, PreviousPoint, ReleaseReport, Session,
    SnapshotDisk, SnapshotProvider, VmDescription, VmState,
};
