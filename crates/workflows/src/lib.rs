//! What Tresor does, as tables of sub-tasks: backup, restore, check, verify, copy, repair, expire, collect, and the
//! backup of the installation's own database.
//!
//! Each sub-task has an action, an undo and a time limit; the job engine records it before its
//! effect and unwinds in reverse order. Nothing here knows of the command line or of SQL.
//!
//! # Invariants
//! - Everything a backup leaves outside of its process (in QEMU, on the host, in the vault, in the
//!   guest) is found again from the job's id alone, so that an undo needs no memory of the run.
//! - Whether a backup happened is decided in one place, the vault: an undo first asks for the end
//!   of the job's session there, and ends the snapshot accordingly; where the vault cannot answer,
//!   as abandoned, which costs at most a full read.

pub mod backup;
pub mod check;
pub mod collect;
pub mod copy;
pub mod database;
pub mod expire;
pub mod partial;
pub mod reconcile;
pub mod repair;
pub mod restore;
pub mod verify;

mod affected;
mod cause;
mod describe;
mod near;
mod translate;
mod watch;
mod written;

pub use affected::Affected;
pub use cause::Cause;
pub use describe::last_point_of;
pub use near::{Near, near_disk};
pub use translate::{snapshot_problem, storage_problem, vault_problem};
