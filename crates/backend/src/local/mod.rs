//! Objects as files below a directory.
//!
//! # What holds
//! - The object `packs/0a/x` is the file `packs/0a/x` below the root, mode 0600, in directories
//!   of mode 0700. Nothing else is kept, so `ls`, `cp` and `rsync` tell the truth.
//! - A file has its name only when its bytes are durable. No name is ever given to a second file
//!   unless it was deleted in between.
//! - Only regular files whose whole path is an [`crate::ObjectName`] are objects. Links are
//!   never followed, not even above the last segment; foreign files are neither listed nor
//!   removed.
//!
//! # Ordering
//! `put`: directories from the root down, each synced in its parent before use · temporary file
//! in `.tmp/` · write · sync file · name it without overwrite · remove the temporary name · sync
//! the directory · return. `delete`: unlink, sync the directory, return.
//!
//! # Retries
//! None here. A sync that failed is not repeated: the kernel may have dropped the pages, and a
//! second sync would succeed for nothing. The file is given up.
//!
//! # After a crash
//! The object is whole or absent. `.tmp/` may hold leftovers, some perhaps a second name of a
//! published file: `sweep` removes the name there, never an object.
//!
//! The layout and the reasons for each step: docs/format/storage.md.

mod backend;
mod dir_fs;
mod direct;
mod failure;
mod fs;
mod paths;
mod tree;

pub use backend::LocalBackend;
pub use dir_fs::DirFs;
pub use fs::{Content, Entry, FileKind, Fs, FsError, Leftover, Published};
