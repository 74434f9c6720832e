//! The repository's chores: `cargo xtask VERB`.

mod bench;
mod check;
mod demo;
mod package;
mod process;
mod setup;
mod soak;
mod term;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The repository's chores")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install and prepare what the demo and the tests need
    Setup {
        /// Install nothing: print what is missing, and fail if anything is
        #[arg(long)]
        no_install: bool,
    },
    /// Protect a real virtual machine, destroy it, and bring it back
    Demo(demo::Options),
    /// Prepare what is needed, then run every test
    Test(test::Options),
    /// Measure, next to the tools that one would use instead
    Bench(bench::Options),
    /// Run a test in large numbers
    Soak(soak::Options),
    /// Check the rules of the house
    Check {
        /// Write the generated pages instead of complaining that they are not current
        #[arg(long)]
        write: bool,
    },
    /// Make packages to install
    Package(package::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            term::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        match verb {
            Verb::Setup { no_install } => setup::run(!no_install).await,
            Verb::Demo(options) => demo::run(&options).await,
            Verb::Test(options) => test::run(&options).await,
            Verb::Bench(options) => bench::run(&options).await,
            Verb::Soak(options) => soak::run(&options).await,
            Verb::Check { write } => check::run(write),
            Verb::Package(options) => package::run(&options),
        }
    })
}
