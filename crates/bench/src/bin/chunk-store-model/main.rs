//! A model of the per-chunk work of a 4 MiB chunk store, in its strongest form: our emulation of what
//! such a client does with each chunk, without the server, the protocol and the TLS around it.
//!
//! A chunk is 4 MiB, aligned to the disk. Its digest is SHA-256; a chunk whose digest the index of
//! the backup before has is not stored again. A new one is compressed by zstd 1, kept so if that is
//! smaller, sealed by AES-256-GCM, and becomes a file of its own in one of 65,536 directories, by a
//! temporary name and a rename. An index of all digests is the backup. Two workers read (past the
//! page cache), hash, compress and write; one sync of the file system ends it.
//!
//! Where the model differs from any real client it is faster: no checksum beside the seal, no
//! connection, holes are not read. What is measured against it says nothing of a product.

#[path = "../../changes.rs"]
mod changes;
mod store;
mod work;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about)]
struct Program {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct PlaceArgs {
    /// Directory of the store
    #[arg(long, global = true, default_value = "store")]
    store: PathBuf,
    /// File with the key
    #[arg(long, global = true, default_value = "key")]
    key_file: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Back up everything
    Full {
        /// The disk
        #[arg(long)]
        image: PathBuf,
    },
    /// Back up the chunks that a list of changed extents touches
    Incremental {
        /// The disk
        #[arg(long)]
        image: PathBuf,
        /// The list of its changed extents
        #[arg(long)]
        changed: PathBuf,
    },
    /// Bring the last backup back to a raw image
    Restore {
        /// The image to make
        #[arg(long)]
        to: PathBuf,
    },
    /// Read all chunks of the last backup and check their digests
    Verify,
    /// Read 4 KiB at random places of the last backup, one after another
    Random {
        /// How many
        #[arg(long, default_value_t = 1000)]
        reads: u64,
        /// Chooses the places
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> Result<()> {
    let Program { place, command } = Program::parse();
    let store = store::Store::open(&place.store, &place.key_file)?;
    let figures = match command {
        Command::Full { image } => work::back_up(&store, &image, None)?,
        Command::Incremental { image, changed } => work::back_up(&store, &image, Some(&changed))?,
        Command::Restore { to } => work::restore(&store, Some(&to))?,
        Command::Verify => work::restore(&store, None)?,
        Command::Random { reads, seed } => work::random(&store, reads, seed)?,
    };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&figures)?)?;
    Ok(())
}
