//! From a snapshot into a vault.

mod disk;
mod file;
mod plan;
mod reread;

pub use disk::{DiskTransfer, Ending, Scope, Transfer};
pub use file::transfer_file;
pub use reread::{Compared, Reread};
