//! `cargo xtask demo`.

use anyhow::{Result, bail};

/// How to run it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Install nothing: print what is missing, and fail if anything is
    #[arg(long)]
    no_install: bool,
    /// Leave everything there, and print how to look around
    #[arg(long)]
    keep: bool,
}

/// Prepares; the demo itself is not there yet, and says so.
pub(crate) async fn run(options: &Options) -> Result<()> {
    crate::setup::run(!options.no_install).await?;
    bail!("the demo is not there yet (keep: {})", options.keep)
}
