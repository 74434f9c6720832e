//! `cargo xtask bench NAME`.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The benchmark
    name: String,
    /// Write the results here, as a list of `{case, tool, wall_s, user_s, sys_s, peak_mib,
    /// read_mib, stored_mib, note}`
    #[arg(long)]
    json: Option<PathBuf>,
    /// What generated data is made from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// There is none yet.
pub(crate) async fn run(options: &Options) -> Result<()> {
    bail!(
        "there is no benchmark {:?} yet (seed {}, results to {:?})",
        options.name,
        options.seed,
        options.json
    )
}
