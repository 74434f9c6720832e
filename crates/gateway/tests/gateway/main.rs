//! A host and a service on a socket pair, and the gateway between them.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

#[path = "../../../vault/tests/support/mod.rs"]
mod support;

mod contract;
mod cuts;
mod golden;
mod hostile;
mod pair;
mod throughput;
mod vault;
