//! A simulated disk under [`crate::LocalBackend`]: power cuts, kills and failing operations, at
//! every operation, repeatable from a seed.
//!
//! [`SimFs`] is a handle of one *process* on a shared disk. It keeps two images: the **live**
//! one, which every process sees at once, and the **durable** one, which a power cut leaves.
//! [`SimFs::power_cut`] gives the disk as the next boot finds it; a new `LocalBackend` opens on it.
//!
//! # Fault model, zone by zone
//!
//! | zone | may happen | cannot happen |
//! |---|---|---|
//! | bytes of a file never synced | power cut: any length up to the live one; each 512 B or 4 KiB block, on its own, is kept, zero, or stale bytes of something else | blocks of other files change |
//! | bytes of a synced file | nothing | loss, change, bit rot (damage is the vault's own matrix, not this) |
//! | bytes appended after a sync | as never synced, from the synced length on | loss of what was synced before |
//! | names in a directory not synced since | power cut: each name, on its own, is in any state it had since the last sync, in no order | a name stands for a file it never stood for |
//! | names in a synced directory | nothing | loss, return of a removed name |
//! | a directory's own name | a name in its parent: lost with all below when the parent is not synced | kept by syncing the directory itself, or a file in it |
//! | two names of one file | each lost or kept on its own | the file lost while a durable name is there |
//! | live image | one operation takes effect at once, for all processes, and operations of processes mix in any order that the seed gives | a link that replaces, a read that is torn |
//! | no space | from the `n`th change on: a write keeps some prefix, other changes have no effect; removal still works | a sync that fails for space (delayed allocation of quota on NFS: not modelled) |
//! | failed write | some prefix is there | |
//! | failed sync of a file | its unsynced bytes are never durable, whatever later syncs say (Linux marks pages clean) | |
//! | failed sync of a directory | the file system stops: every later change fails as read-only, every sync fails, reads go on (ext4 aborts its journal, XFS shuts down) | |
//! | any other failed change | it happened, or did not | half of it |
//! | power cut, kill | before the `n`th change, or after it but before its caller learns; from then on every call of the machine, or of the process, fails | |
//! | kill | live image stays, the killed process's next call never returns success | loss of live state |
//! | clock | stands still until [`SimFs::advance`] | |
//!
//! The model is harsher than ext4, XFS and btrfs with their defaults (they order more), and about
//! what POSIX promises. It does not model: bit rot, lying drives that drop flushed writes, a
//! network file system's caches, memory pressure.
//!
//! # Determinism
//! Operations are inline, without real input or output. Between operations a task yields a number
//! of times that the seed gives, so that concurrent tasks mix; on a current-thread runtime one
//! seed is one history.
//!
//! # Use
//! Run a protocol once with [`Plan::default`] and read [`SimFs::changes`]: that many crash points
//! there are. Then for each seed and each point: a fresh disk, [`Plan::cut_power`], run until it
//! fails, [`SimFs::power_cut`], open again, check what was acknowledged.

mod disk;
mod fs;
mod plan;
mod rng;

pub use fs::{SimFs, SimTemp};
pub use plan::{Moment, Plan};
pub use rng::Rng;
