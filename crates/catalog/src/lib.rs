//! The catalog: what this installation knows (vaults, VMs, jobs, facts), in SQL.
//!
//! The only crate that speaks SQL. The text of every statement is the same for SQLite and
//! PostgreSQL; the few differences are in one private enum, `Dialect`.
//!
//! # Invariants
//! - What the vaults hold can be read from them alone (invariant I7): the table of recovery points
//!   is a cache, filled again by [`Catalog::replace_points`].
//! - A database that is damaged, newer, or not ours is refused and never written to.
//! - When a call returns `Ok` its effect is durable (write-ahead log, `synchronous=FULL`).
//!
//! # Several processes
//! Any number of `tresor` processes use one file at once. A change is one statement, or one
//! transaction that takes the write lock at its beginning, so that nothing read in it is stale.
//! A process that finds the lock taken waits up to 30 s.
//!
//! # After a crash
//! A transaction is there whole or not at all; the next opening process needs to do nothing. Jobs
//! of the dead process keep their lock key until the job engine has recovered them.

mod dialect;
mod error;
mod facts;
mod job_log;
mod open;
mod points;
mod queue;
mod row;
mod schema;
mod vaults;
mod verified;
mod vms;

pub use error::{CatalogError, CatalogErrorKind, Object};
pub use open::Catalog;
pub use points::{PointFilter, PointRecord};
pub use vaults::VaultRecord;
pub use verified::{Verified, VerifiedChange};
pub use vms::VmRecord;
