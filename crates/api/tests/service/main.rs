//! The API on a real catalog (SQLite), through its router. What the catalog says is the same on PostgreSQL:
//! its own tests hold that.

mod changes;
mod channels;
mod document;
mod events;
mod fuzzed;
mod gate;
mod lists;
mod metrics;
#[path = "../../../catalog/tests/support/postgres_server.rs"]
mod postgres_server;
mod site;
mod support;
mod tokens;
mod vault_jobs;
