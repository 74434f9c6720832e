//! Builds the program that runs inside guests: static, so that the guest needs no libc for it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::{succeeds, tool};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds it (quick when nothing changed) and says where it is.
pub(crate) fn build(workspace: &Path, guest_dir: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // A target directory of its own: other flags would make every other build start anew.
    let target_dir = guest_dir.join("cargo");
    let built = succeeds(
        tool(cargo)
            .current_dir(workspace)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .args(["build", "--quiet", "--profile", "guest"])
            .args(["--package", "tresor-guest-workload", "--target", TARGET])
            .arg("--target-dir")
            .arg(&target_dir),
    )
    .context("cannot build the guest's program")?;
    if !built {
        bail!("the guest's program (crates/guest-workload) does not build");
    }
    Ok(target_dir.join(TARGET).join("guest/tresor-workload"))
}
