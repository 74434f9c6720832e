//! `cargo xtask soak NAME`: one test in large numbers, with a report to commit.
//!
//! A soak ends with an error when something was harmed or did not work, never because something
//! took long: times are reported next to what is wanted of them.

mod endurance;
mod figures;
mod freeze;
mod interrupts;
pub(crate) mod lab;
mod report;
mod vault;
mod writers;

use std::path::PathBuf;

use anyhow::{Result, bail};

/// What to run, how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The soak: `freeze`, `interrupts`, `endurance` or `vault`
    name: String,
    /// How many times
    #[arg(long)]
    runs: u64,
    /// What the runs are derived from
    #[arg(long)]
    seed: u64,
    /// Do only this run of the schedule (interrupts): what a report says to reproduce a failure
    #[arg(long, value_name = "RUN")]
    only: Option<usize>,
    /// Where the report goes [default: docs/reports/DATE-soak-NAME.md]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Runs the soak of that name.
pub(crate) async fn run(options: &Options) -> Result<()> {
    match options.name.as_str() {
        "freeze" => freeze::run(options).await,
        "endurance" => endurance::run(options).await,
        "interrupts" => interrupts::run(options).await,
        "vault" => vault::run(options),
        other => {
            bail!("there is no soak {other:?}; there are: freeze, interrupts, endurance, vault")
        }
    }
}
