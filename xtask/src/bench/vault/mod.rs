//! `cargo xtask bench vault`: the vault against what a user would pick instead.

mod targets;

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};

use self::targets::judge;
use super::{
    Options,
    backup::{kind_of, run_with},
    peers,
};
use crate::{term::say, workspace};

/// Runs the bench. Fails when a tool fails or a restored image differs from its source; a missed
/// target is said, and is no failure.
pub(super) fn run(options: &Options) -> Result<()> {
    say(&format!("load average before: {}", load_average()?));
    let measured = run_with(options, peers::of_the_vault, |rows, _| {
        let tools = peers::of_the_vault();
        judge(rows, |name| kind_of(&tools, name))
    });
    say(&format!("load average after: {}", load_average()?));
    measured
}

/// Runs a command of the worker that measures by itself.
pub(super) fn run_worker(options: &Options, arguments: &[String]) -> Result<()> {
    ensure!(
        options.images.is_none() && options.only.is_empty(),
        "this bench takes no images and compares no tools"
    );
    say(&format!("load average before: {}", load_average()?));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--release", "--quiet", "--package", "tresor-bench"])
        .args(arguments)
        .current_dir(workspace::root()?)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the bench failed");
    say(&format!("load average after: {}", load_average()?));
    Ok(())
}

/// The three averages, as the kernel has them.
fn load_average() -> Result<String> {
    let line = fs::read_to_string("/proc/loadavg").context("cannot read the load average")?;
    let averages: Vec<_> = line.split(' ').take(3).collect();
    Ok(averages.join(" "))
}
