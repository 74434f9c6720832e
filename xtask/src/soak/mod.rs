//! `cargo xtask soak NAME`: one test in large numbers, with a report to commit.
//!
//! A soak ends with an error when something was harmed or did not work, never because something
//! took long: times are reported next to what is wanted of them.

mod calendar;
mod endurance;
mod figures;
mod freeze;
mod fuzz;
mod interrupts;
pub(crate) mod lab;
mod report;
mod service;
mod told;
mod vault;
mod vault_kill;
mod writers;

use std::{num::NonZeroUsize, path::PathBuf};

use anyhow::{Result, bail};

/// What to run, how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The soak: `freeze`, `interrupts`, `endurance`, `vault`, `vault-kill`, `service`, `calendar` or `fuzz`
    name: String,
    /// How many times (all but fuzz)
    #[arg(long, default_value_t = 0)]
    runs: u64,
    /// How long each target runs (fuzz)
    #[arg(long)]
    minutes: Option<f64>,
    /// How many targets run at the same time (fuzz)
    #[arg(long, value_name = "N", default_value = "1")]
    at_once: NonZeroUsize,
    /// Take over the outcomes of targets that an earlier run, cut short, has finished (fuzz)
    #[arg(long)]
    resume: bool,
    /// What the runs are derived from
    #[arg(long)]
    seed: u64,
    /// Do only this run of the schedule (interrupts; what a report says to reproduce a failure), or
    /// only this target (fuzz)
    #[arg(long, value_name = "RUN|TARGET")]
    only: Option<String>,
    /// Where the catalog is (service)
    #[arg(long, value_enum, default_value = "sqlite")]
    database: service::Database,
    /// Where the report goes [default: docs/reports/DATE-soak-NAME.md]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Runs the soak of that name.
pub(crate) async fn run(options: &Options) -> Result<()> {
    if options.runs == 0 && options.name != "fuzz" {
        bail!("how often? For example `--runs 100`");
    }
    match options.name.as_str() {
        "fuzz" => fuzz::run(options).await,
        "freeze" => freeze::run(options).await,
        "endurance" => endurance::run(options).await,
        "interrupts" => interrupts::run(options).await,
        "calendar" => calendar::run(options),
        "vault" => vault::run(options),
        "vault-kill" => vault_kill::run(options).await,
        "service" => service::run(options).await,
        other => bail!(
            "there is no soak {other:?}; there are: freeze, interrupts, endurance, vault, vault-kill, service, calendar, fuzz"
        ),
    }
}
