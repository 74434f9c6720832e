//! `cargo xtask soak NAME`.

use anyhow::{Result, bail};

/// What to run, how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The soak
    name: String,
    /// How many times
    #[arg(long)]
    runs: u64,
    /// What the runs are derived from
    #[arg(long)]
    seed: u64,
}

/// There is none yet.
pub(crate) async fn run(options: &Options) -> Result<()> {
    bail!(
        "there is no soak {:?} yet (runs {}, seed {})",
        options.name,
        options.runs,
        options.seed
    )
}
