//! A host and a service on a socket pair, the desk between them, and a real catalog behind it.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod away;
mod contract;
mod crash;

mod golden;
mod hostile;
mod pair;
mod registry;
mod role;

#[path = "../../../catalog/tests/support/postgres.rs"]
mod postgres;
