//! What each kind of holder can do and what not: every holder × every ability, tried on a vault of two
//! domains. What is expected is in `expected`; docs/holders.md is made from it.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod expected;
mod holder;
#[path = "../support/hostile.rs"]
mod hostile;
mod matrix;
mod page;
mod scene;
#[path = "../support/mod.rs"]
mod support;
mod tries;
