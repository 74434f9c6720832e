//! Chores of the repository: `cargo xtask …`.

mod bench;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(about)]
enum Command {
    /// Measure Tresor next to other tools
    Bench {
        #[command(flatten)]
        args: bench::BenchArgs,
        /// Name missing packages instead of installing them
        #[arg(long)]
        no_install: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Bench { args, no_install } => bench::run(&args, no_install),
    }
}
