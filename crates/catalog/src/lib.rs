//! The catalog: what this installation knows (vaults, VMs, hosts, policies, jobs, facts), in SQL.
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
//! Where several services share a database, what only one of them may do is done under a lease: a write
//! of one that has lost it is refused ([`Catalog::under`]).
//!
//! # Lists
//! Those that grow with the installation come in pages of bounded length, by key. An older entry that
//! comes late is not on a page that was read.
//!
//! # After a crash
//! A transaction is there whole or not at all; the next opening process needs to do nothing. Jobs
//! of the dead process keep their lock key until the job engine has recovered them.

mod again;
mod alerts;
mod all;
mod audit;
mod channels;
mod datasources;
mod dialect;
mod dump;
mod enrolments;
mod error;
mod facts;
mod figures;
mod hosts;
mod installation;
mod items;
mod job_list;
mod job_log;
mod lanes;
mod leases;
mod links;
mod list;
mod open;
mod outbox;
mod points;
mod policies;
mod queue;
mod requests;
mod row;
mod schedule;
mod schema;
mod secret;
mod tallies;
mod tokens;
mod url;
mod vaults;
mod verified;
mod vms;
mod write;

pub use alerts::{AlertFilter, AlertRecord, Tell};
pub use audit::{AuditFilter, AuditRecord};
pub use channels::{ChannelRecord, ChannelSecret};
pub use datasources::{Datasource, DatasourceFilter, DatasourceKey, DatasourceRecord};
pub use dump::Loading;
pub use enrolments::{Enrolling, EnrolmentRecord};
pub use error::{CatalogError, CatalogErrorKind, Object};
pub use figures::WaitingJobs;
pub use hosts::HostRecord;
pub use items::{ItemFilter, ItemRecord, Memory};
pub use leases::{Fence, LeaseRecord};
pub use links::HostStanding;
pub use list::Page;
pub use open::Catalog;
pub use outbox::NotificationRecord;
pub use points::{PointFilter, PointKey, PointRecord};
pub use policies::PolicyRecord;
pub use requests::Begun;
pub use schedule::RunEnd;
pub use secret::{SecretHash, SecretHashError};
pub use tallies::{Counted, Counts, EVERYTHING, Tally};
pub use tokens::TokenRecord;
pub use tresor_model::{HostState, ItemState, TokenRole};
pub use url::{DatabaseUrl, DatabaseUrlError};
pub use vaults::VaultRecord;
pub use verified::{Verified, VerifiedChange};
pub use vms::VmRecord;
