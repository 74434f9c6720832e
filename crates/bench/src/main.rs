//! The data path of `tresor` on a raw image and a local vault, without a hypervisor and without a
//! catalog: what `cargo xtask bench backup` measures.
//!
//! Each command does one thing, in one process, and prints one line of JSON with the bytes it
//! moved. The crates are those of `tresor`; only the snapshot is a file ([`session`]).

mod changes;
mod commands;
mod index;
mod point;
mod random;
mod reader;
mod scale;
mod schedule;
mod session;

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about)]
struct Program {
    #[command(flatten)]
    vault: VaultArgs,
    #[command(subcommand)]
    command: Command,
}

/// The vault that a command works on.
#[derive(Debug, Args)]
struct VaultArgs {
    /// Directory of the vault
    #[arg(long, global = true, default_value = "vault")]
    vault: PathBuf,
    /// File with the key that opens it
    #[arg(long, global = true, default_value = "key")]
    key_file: PathBuf,
    /// zstd level of what is stored, instead of the usual one
    #[arg(long, global = true, allow_negative_numbers = true)]
    level: Option<i32>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the vault
    Create,
    /// Back up everything, into an empty vault
    Full {
        /// The disk
        #[arg(long)]
        image: PathBuf,
    },
    /// Back up everything, into a vault that has most of it
    Reread {
        /// The disk
        #[arg(long)]
        image: PathBuf,
    },
    /// Back up what changed since the last recovery point
    Incremental {
        /// The disk
        #[arg(long)]
        image: PathBuf,
        /// The list of its changed extents
        #[arg(long)]
        changed: PathBuf,
    },
    /// Bring the last recovery point back to a raw image
    Restore {
        /// The image to make
        #[arg(long)]
        to: PathBuf,
    },
    /// Read the last recovery point back and check it
    Verify,
    /// Read what is allocated of an image, as `cat` would
    Cat {
        /// The disk
        #[arg(long)]
        image: PathBuf,
    },
    /// Build a table of known chunks and look chunks up
    Index {
        /// Where the table goes, 48 bytes a chunk
        #[arg(long, default_value = "target/bench")]
        dir: PathBuf,
        /// How many chunks
        #[arg(long, default_value_t = 100_000_000)]
        entries: u64,
    },
    /// Grow a vault, and say what opening, listing and committing cost
    Scale {
        /// Where its objects go
        #[arg(long, default_value = "target/bench")]
        dir: PathBuf,
        /// How many recovery points
        #[arg(long, default_value_t = 10_000)]
        points: u64,
    },
    /// Schedule a fleet for some days, and say how its starts are spread and what a tick costs
    Schedule {
        /// How many protected items
        #[arg(long, default_value_t = 100_000)]
        items: u32,
        /// For how many days
        #[arg(long, default_value_t = 30)]
        days: u32,
        /// Chooses the fleet and its fate
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Read every object of the vault and check it, without the key
    VerifyObjects,
    /// Read 4 KiB at random places of the last recovery point, one after another
    Random {
        /// How many
        #[arg(long, default_value_t = 1000)]
        reads: u64,
        /// Chooses the places
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let Program { vault, command } = Program::parse();
    let figures = match command {
        Command::Create => return commands::create(&vault).await,
        Command::Full { image } | Command::Reread { image } => {
            commands::backup(&vault, &image, None).await?
        }
        Command::Incremental { image, changed } => {
            commands::backup(&vault, &image, Some(&changed)).await?
        }
        Command::Restore { to } => commands::restore(&vault, &to).await?,
        Command::Verify => commands::verify(&vault).await?,
        Command::Cat { image } => session::cat(&image)?,
        Command::Index { dir, entries } => return index::measure(&dir, entries),
        Command::Scale { dir, points } => return scale::measure(&dir, points).await,
        Command::Schedule { items, days, seed } => return schedule::measure(items, days, seed),
        Command::VerifyObjects => commands::verify_objects(&vault).await?,
        Command::Random { reads, seed } => random::measure(&vault, reads, seed).await?,
    };
    writeln!(io::stdout(), "{}", serde_json::to_string(&figures)?)?;
    Ok(())
}
