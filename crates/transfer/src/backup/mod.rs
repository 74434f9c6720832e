//! From a snapshot into a vault.

mod disk;
mod file;
mod plan;

pub use disk::{DiskTransfer, transfer_disk};
pub use file::transfer_file;
