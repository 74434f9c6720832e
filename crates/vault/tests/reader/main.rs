//! The reader in docs/format/, which follows the pages there, restores what this
//! program wrote: the golden vault, and vaults that are made here. `cargo xtask setup` brings the
//! Python that it needs.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod fresh;
mod golden;
mod program;
#[path = "../support/mod.rs"]
mod support;

/// A stranger can read it in a sitting, or it proves nothing about the pages.
#[test]
fn the_reader_is_short() {
    let text = include_str!("../../../../docs/format/reader.py");
    assert!(text.lines().count() <= 300);
}
