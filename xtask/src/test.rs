//! `cargo xtask test`: set-up, then every test; `--fast` leaves the slow ones on real guests out
//! and says how many that is.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    process::{capture, find, succeeds, tool},
    term::say,
    workspace,
};

/// How to run them.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave out the slow tests: on real machines from end to end, and of the Debian package
    #[arg(long)]
    fast: bool,
    /// Install nothing: print what is missing, and fail if anything is
    #[arg(long)]
    no_install: bool,
}

/// The names of the test programs that are slow.
const SLOW: [&str; 2] = ["e2e", "package"];

/// Runs the tests. Doc tests run even when others failed: one run shows all that is wrong.
pub(crate) async fn run(options: &Options) -> Result<()> {
    crate::setup::run(!options.no_install).await?;
    let programs = test_programs()?;
    let leave_out = options.fast && programs.iter().any(|name| is_slow(name));
    let unit = if find("cargo-nextest").is_some() {
        succeeds(&mut nextest(leave_out)?)?
    } else {
        say("cargo-nextest is not installed; `cargo test` runs the same tests, less side by side");
        succeeds(&mut plain(&programs, leave_out)?)?
    };
    let doc = succeeds(cargo()?.args(["test", "--quiet", "--doc", "--workspace"]))?;
    match (unit, doc) {
        (true, true) if leave_out => say(&format!(
            "all tests passed; {} slow ones were left out (--fast)",
            count_slow()?
        )),
        (true, true) => say("all tests passed"),
        (false, true) => bail!("tests failed"),
        (true, false) => bail!("doc tests failed"),
        (false, false) => bail!("tests and doc tests failed"),
    }
    Ok(())
}

fn nextest(leave_out: bool) -> Result<Command> {
    let mut command = cargo()?;
    command.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
    // What the profile is made for: see `.config/nextest.toml`.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (2 * processors + 2).to_string();
    command.args(["--profile", "full", "--test-threads", &threads]);
    if leave_out {
        let slow = SLOW.map(|name| format!("binary(={name})")).join(" + ");
        command.args(["-E", &format!("not ({slow})")]);
    }
    Ok(command)
}

fn plain(programs: &[String], leave_out: bool) -> Result<Command> {
    let mut command = cargo()?;
    command.args(["test", "--workspace", "--no-fail-fast", "--lib", "--bins"]);
    for name in programs {
        if !(leave_out && is_slow(name)) {
            command.args(["--test", name]);
        }
    }
    Ok(command)
}

/// The names of the workspace's test programs (`tests/NAME.rs`).
fn test_programs() -> Result<Vec<String>> {
    let args = ["metadata", "--no-deps", "--offline", "--format-version=1"];
    let metadata: Value = serde_json::from_str(&capture(cargo()?.args(args))?)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let mut names: Vec<String> = packages
        .iter()
        .flat_map(|package| package["targets"].as_array().into_iter().flatten())
        .filter(|target| target["kind"][0] == "test")
        .filter_map(|target| Some(target["name"].as_str()?.to_owned()))
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

fn is_slow(program: &str) -> bool {
    SLOW.contains(&program)
}

fn count_slow() -> Result<usize> {
    let mut list = cargo()?;
    list.args(["test", "--quiet", "--workspace"]);
    list.args(SLOW.iter().flat_map(|name| ["--test", name]));
    let listed = capture(list.args(["--", "--list"])).context("cannot count the tests left out")?;
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
