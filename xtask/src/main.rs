//! The repository's chores: `cargo xtask VERB`.

mod process;
mod setup;
mod term;
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
        }
    })
}
