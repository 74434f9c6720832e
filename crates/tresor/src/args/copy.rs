//! Copies in other vaults, and repairs from them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{KeyArgs, VaultAccess};

/// `tresor copy`
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// Names of VMs or ids of recovery points [default: everything that is newer than
    /// what was copied before]
    #[arg(value_name = "VM|POINT")]
    pub(crate) what: Vec<String>,

    /// Name or directory of the vault to copy from [default: the only other one known]
    #[arg(long, value_name = "VAULT")]
    pub(crate) from: Option<String>,

    /// Name or directory of the vault to copy to
    #[arg(long, value_name = "VAULT")]
    pub(crate) to: String,

    #[command(flatten)]
    pub(crate) key: KeyArgs,

    /// File with the key of the vault to copy to [default: the one that this machine knows]
    #[arg(long, value_name = "FILE")]
    pub(crate) to_key_file: Option<PathBuf>,

    /// File with the passphrase of the vault to copy to
    #[arg(long, value_name = "FILE", conflicts_with = "to_key_file")]
    pub(crate) to_passphrase_file: Option<PathBuf>,

    /// Of each VM, only so many of the newest points
    #[arg(long, value_name = "N")]
    pub(crate) newest: Option<usize>,

    /// Also points that are older than the newest one that was copied
    #[arg(long)]
    pub(crate) older: bool,

    /// How much is read back from the other vault when a point has been copied
    #[arg(long, value_name = "HOW", default_value = "sample")]
    pub(crate) read_back: ReadBackArg,

    /// Most that is read from the first vault, in MiB per second [default: no limit]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) read_limit: Option<u32>,

    /// Most that is sent to the other vault, in MiB per second [default: no limit]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) upload_limit: Option<u32>,

    /// Only show what would be copied
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How much is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReadBackArg {
    /// Nothing
    None,
    /// A sixteenth, other parts each time
    Sample,
    /// Everything
    All,
}

/// `tresor repair`
#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    #[command(flatten)]
    pub(crate) access: VaultAccess,

    /// Name or directory of a vault with copies [default: all others that this machine knows]
    #[arg(long, value_name = "VAULT")]
    pub(crate) from: Option<String>,

    /// File with the key of the vault with copies [default: the one that this machine knows]
    #[arg(long, value_name = "FILE")]
    pub(crate) from_key_file: Option<PathBuf>,

    /// Only show which recovery points are affected
    #[arg(long)]
    pub(crate) dry_run: bool,
}
