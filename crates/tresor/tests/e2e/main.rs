//! The whole program on real virtual machines, one file for each thing that must not happen.
//!
//! Needs what `cargo xtask setup` installs and builds.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod consistency;
mod copies;
mod damage;
mod disks;
mod domains;
mod hosts;
mod impact;
mod incremental;
mod interrupt;
mod interrupts;
mod lab;
mod machines;
mod old_qemu;
mod problems;
mod restore;
mod retention;
mod running;
mod stopped;
mod stores;
mod tracking;
mod uefi;
/// Recovery points without a VM.
#[path = "../../../vault/tests/support/mod.rs"]
mod vault_support;
