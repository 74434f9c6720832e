//! `cargo xtask package`.

use std::path::Path;

use anyhow::{Result, bail};

/// There are none yet.
pub(crate) fn run(out: &Path) -> Result<()> {
    bail!("there are no packages to make in {} yet", out.display())
}
