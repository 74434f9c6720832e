//! Every kind of object, damaged in every way, under every operation: it is found and named, or it
//! harms nothing, or nothing in a vault can tell; and other points are not touched. What is expected
//! is in `expected`; docs/damage.md is made from it.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod expected;
mod grain;
mod inflict;
mod kinds;
mod matrix;
mod observe;
mod sample;
#[path = "../support/mod.rs"]
mod support;
mod table;
