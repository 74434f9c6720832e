//! The whole database as lines of JSON, the same from SQLite and from PostgreSQL: docs/format/database.md.
//!
//! [`Catalog::dump`](crate::Catalog::dump) writes what one transaction sees; [`Loading`] puts it into a
//! database, whole or not at all. The lines themselves are `tresor_vault_format::database`.
//!
//! # Invariants
//! - Names of tables and columns reach SQL only when the schema has them.
//! - A table is in the dump or on the list of those that are left out, each for a reason.

mod load;
mod write;

pub use load::Loading;

/// The tables in the order in which rows can be put in, each with what orders its rows: what is only appended to
/// stays where it was, so that the next dump shares its chunks.
pub(crate) const TABLES: [(&str, &str); 18] = [
    ("vaults", "name"),
    ("hosts", "enrolled_at, id"),
    ("vms", "created_at, name"),
    ("policies", "name"),
    ("protected_items", "vm"),
    ("datasources", "first_seen, vm, host"),
    ("jobs", "id"),
    ("job_events", "job, seq"),
    ("job_progress", "job"),
    ("queue", "job"),
    ("facts", "subject, name, observer"),
    ("tokens", "id"),
    ("enrolments", "created_at, hash"),
    ("audit", "id"),
    ("alerts", "id"),
    ("channels", "name"),
    ("tallies", "name, kind, label, bucket"),
    ("gateway_sessions", "begun_at, vault, session"),
];

/// The tables that are left out: what the vaults have themselves (`points`), what begins anew without harm
/// (`verified`, `idempotency`), what only counts in one database (`leases`), and what was to be told then
/// (`outbox`).
pub(crate) const LEFT_OUT: [&str; 5] = ["points", "verified", "leases", "idempotency", "outbox"];
