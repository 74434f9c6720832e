//! Snapshot providers for QEMU: of a VM that runs, over its QMP socket, and of one that does not,
//! through `qemu-storage-daemon` (module `stopped`). [`VmProvider`] chooses by looking.
//!
//! # What
//! [`QemuProvider`] implements the port `tresor-disk`. For each disk a `copy-before-write` filter
//! is put between the guest's device and its image; what the guest overwrites goes to a fleecing
//! image first, and a `snapshot-access` node shows the disk as it was. It is read over NBD.
//!
//! # What is ours (I5)
//! Everything carries the snapshot's tag: nodes `<tag>-c0` (filter), `-f0`, `-r0`, `-p0`
//! (fleecing: format, limit, file), `-s0` (snapshot), exports `-e0`, jobs `-j0`, bitmaps `-b…`,
//! the object `-stop` that says "we stopped this VM", fleecing files and the NBD socket's
//! directory. Module `naming` is the only home of these names.
//!
//! # Ordering
//! ```text
//! prepare   fleecing files and nodes, filters (above the images, below nobody), NBD server
//! take      bitmaps added (they record from here: a little too much, never too little)
//!           [object -stop, stop] all devices moved onto their filters [cont]
//!           previous bitmaps disabled, in one transaction that fails unless the new ones record
//! activate  snapshot nodes and exports, when the session is first used: the guest runs already
//! release   cont, exports, snapshot nodes, bitmaps, devices moved back, filters, fleecing, files
//! ```
//! Writes between two of these steps are recorded by both bitmaps, or by the one that matters.
//!
//! # After a crash
//! `release` looks at what is there, plans (`release::plan`) and acts. Nothing about a snapshot is
//! kept anywhere else: a new bitmap's name says which one it follows.

mod activate;
mod alive;
mod choose;
mod connect;
mod describe;
mod extents;
mod facts;
mod failure;
mod fleecing;
mod judge;
mod latency;
mod layout;
mod left;
mod naming;
mod prepare;
mod provider;
mod release;
mod session;
mod stopped;
mod sys;
mod take;

pub use choose::VmProvider;
pub use left::{LeftFile, is_used, left_files, remove_left};
pub use provider::{QemuConfig, QemuProvider};
pub use stopped::StoppedProvider;
