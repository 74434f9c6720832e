//! Every problem of the catalog, raised through the program by its real condition.
//!
//! `cargo xtask check` counts: a code that no test of this crate raises fails it. Codes that other
//! files here raise (`Interrupted`, `SnapshotLost`, `ChunkDamaged` and the like) are not repeated.

mod database;
mod guest;
mod jobs;
mod key;
mod restore;
mod state;
mod storage;
mod stores;
mod tmpfs;
mod vault;
mod vm;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use tresor_testkit::Guest;

/// A guest with one small disk.
async fn small_guest() -> Guest {
    Guest::builder().start().await.unwrap()
}

/// Runs a command in the guest that must succeed.
async fn in_guest(guest: &Guest, command: &str) -> String {
    guest.exec(command).await.unwrap().ok().unwrap()
}

fn write_with_mode(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
