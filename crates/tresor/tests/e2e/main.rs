//! The whole program on real virtual machines, one file for each thing that must not happen.
//!
//! Needs what `cargo xtask setup` installs and builds.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod check;
mod collect;
mod config;
mod consistency;
mod copies;
mod damage;
mod database_backup;
mod disks;
mod doctor;
mod domains;
mod hosts;
mod impact;
mod incremental;
mod interrupt;
mod interrupts;
mod kills;
mod lab;
mod logins;
mod machines;
mod namespaces;
mod notify;
mod object_lock;
mod old_qemu;
mod postgres;
#[path = "../../../catalog/tests/support/postgres_server.rs"]
mod postgres_server;
mod problems;
mod random_requests;
mod rebuild;
mod remote;
mod remote_hosts;
mod restore;
mod retention;
mod running;
mod service;
mod service_jobs;
mod shortcuts;
mod stopped;
mod stopping;
mod store_copies;
mod stores;
mod tracking;
mod uefi;
/// Recovery points without a VM.
#[path = "../../../vault/tests/support/mod.rs"]
mod vault_support;
