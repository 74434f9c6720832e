//! `cargo xtask test`: set-up, then every test; `--fast` leaves the slow real-guest package out
//! and says how much that is.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{
    process::{capture, find, succeeds, tool},
    term::say,
    workspace,
};

/// How to run them.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave out the slow end-to-end tests (package `tresor-e2e`)
    #[arg(long)]
    fast: bool,
    /// Install nothing: print what is missing, and fail if anything is
    #[arg(long)]
    no_install: bool,
}

/// The package of the slow tests on real guests.
const SLOW: &str = "tresor-e2e";

/// Runs the tests. Doc tests run even when others failed: one run shows all that is wrong.
pub(crate) async fn run(options: &Options) -> Result<()> {
    crate::setup::run(!options.no_install).await?;
    let nextest = find("cargo-nextest").is_some();
    let slow_exists = workspace::root()?.join("crates/e2e/Cargo.toml").is_file();
    let leave_out = options.fast && slow_exists;
    let unit = succeeds(&mut tests(nextest, leave_out)?)?;
    let doc = succeeds(cargo()?.args(["test", "--quiet", "--doc", "--workspace"]))?;
    let left_out = if leave_out { count(SLOW)? } else { 0 };
    match (unit, doc) {
        (true, true) if left_out > 0 => {
            say(&format!(
                "all tests passed; {left_out} slow ones were left out (--fast)"
            ));
        }
        (true, true) => say("all tests passed"),
        (false, true) => bail!("tests failed"),
        (true, false) => bail!("doc tests failed"),
        (false, false) => bail!("tests and doc tests failed"),
    }
    Ok(())
}

fn tests(nextest: bool, leave_out: bool) -> Result<Command> {
    let mut command = cargo()?;
    if nextest {
        command.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
    } else {
        say("cargo-nextest is not installed; `cargo test` runs the same tests, less side by side");
        command.args(["test", "--workspace", "--no-fail-fast"]);
        command.args(["--lib", "--bins", "--tests"]);
    }
    if leave_out {
        command.args(["--exclude", SLOW]);
    }
    Ok(command)
}

/// How many tests a package has.
fn count(package: &str) -> Result<usize> {
    let args = ["test", "--quiet", "-p", package, "--", "--list"];
    let listed = capture(cargo()?.args(args)).context("cannot count the tests left out")?;
    Ok(listed
        .lines()
        .filter(|line| line.ends_with(": test"))
        .count())
}

fn cargo() -> Result<Command> {
    let mut command = tool(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root()?);
    Ok(command)
}
