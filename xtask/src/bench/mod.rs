//! `cargo xtask bench NAME`: measurements against the tools that a user would pick instead, in
//! one run.

mod backup;
mod compare;
mod images;
mod impact;
mod measure;
mod packages;
mod peers;
mod report;
mod targets;
mod vault;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which one: `backup`, `vault`, `index`, `scale`, `schedule`, `guest-impact`
    name: String,
    /// Take the images of this directory (day1.raw, day2.raw, day2.changed.json)
    #[arg(long, value_name = "DIR", conflicts_with_all = ["size_gib", "seed"])]
    images: Option<PathBuf>,
    /// Size of the images that are made
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1024))]
    size_gib: u64,
    /// Protected items of the fleet that is scheduled
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    items: u32,
    /// Days for which it is scheduled
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(3..=365))]
    days: u32,
    /// Seed of the images or of the fleet that are made
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write the results to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Judge by the other tools' rows in this file, written by --json on the same images
    #[arg(long, value_name = "FILE")]
    peers_from: Option<PathBuf>,
    /// Run these tools only
    #[arg(long, value_name = "TOOL,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Install nothing: say what is missing
    #[arg(long)]
    no_install: bool,
}

/// The benches there are.
const NAMES: [(&str, &str); 6] = [
    (
        "backup",
        "full, day 2, restore and verify of a disk image, next to cp, zstd, restic, borg",
    ),
    (
        "vault",
        "the vault alone: full, re-read, incremental, restore, verify, random reads, next to restic, rustic, borg, a model of a 4 MiB chunk store, cp and cat",
    ),
    (
        "index",
        "memory and speed of the table of known chunks, with 100 million of them",
    ),
    (
        "scale",
        "open, list and commit as a vault grows to 10,000 recovery points of a TiB each",
    ),
    (
        "schedule",
        "start times, limits, waits and recovery points in time of a simulated fleet, next to a fixed-time cron; what a tick costs",
    ),
    (
        "guest-impact",
        "what a guest's writes take while it is backed up, into a slow vault too, next to QEMU's own backup job",
    ),
];

/// Runs a bench.
pub(crate) async fn run(options: &Options) -> Result<()> {
    match options.name.as_str() {
        "backup" => backup::run(options),
        "guest-impact" => impact::run(options).await,
        "vault" => vault::run(options),
        "index" => vault::run_worker(options, &worker("index")),
        "scale" => vault::run_worker(options, &worker("scale")),
        "schedule" => vault::run_worker(options, &schedule(options)),
        unknown => {
            let names: Vec<_> = NAMES
                .iter()
                .map(|(name, about)| format!("  {name}  {about}"))
                .collect();
            bail!(
                "there is no bench `{unknown}`; there are:\n{}",
                names.join("\n")
            )
        }
    }
}

/// The arguments of a measurement that the worker makes by itself.
fn worker(name: &str) -> Vec<String> {
    ["--bin", "tresor-bench", "--", name]
        .map(str::to_owned)
        .to_vec()
}

fn schedule(options: &Options) -> Vec<String> {
    let mut arguments = worker("schedule");
    for (name, value) in [
        ("--items", u64::from(options.items)),
        ("--days", u64::from(options.days)),
        ("--seed", options.seed),
    ] {
        arguments.extend([name.to_owned(), value.to_string()]);
    }
    arguments
}
