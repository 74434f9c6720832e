//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The workspace's root.
pub(crate) fn root() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .context("xtask is not inside a workspace")
}

/// What guests are made of: `target/guest`.
pub(crate) fn guest_dir() -> Result<PathBuf> {
    Ok(match std::env::var_os("TRESOR_GUEST_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => root()?.join("target/guest"),
    })
}
