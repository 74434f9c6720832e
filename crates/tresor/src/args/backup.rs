//! Backups.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tresor_model::RereadFraction;

use super::VaultAccess;

/// How long a guest may take to freeze, unless it is said.
pub(crate) const FREEZE_LIMIT_S: u32 = 20;

/// `tresor backup`
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Name of the VM
    pub(crate) vm: String,

    #[command(flatten)]
    pub(crate) access: VaultAccess,

    /// Where old content of what the guest overwrites is kept while the backup runs [default:
    /// `fleecing` in the state directory]
    #[arg(long, value_name = "DIR", env = "TRESOR_FLEECING_DIR")]
    pub(crate) fleecing_dir: Option<PathBuf>,

    /// Most space that fleecing may use for a disk, in MiB
    #[arg(long, value_name = "MIB")]
    pub(crate) fleecing_limit: Option<u64>,

    /// Fail when the point would be less consistent than this
    #[arg(long, value_name = "CONSISTENCY", default_value = "crash")]
    pub(crate) require: RequiredConsistency,

    /// How long the guest may take to freeze, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = FREEZE_LIMIT_S)]
    pub(crate) freeze_limit: u32,

    /// How long the transfer of the data may take, in seconds [default: a day]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) transfer_limit: Option<u32>,

    /// Most that is read from the VM's disks, in MiB per second [default: no limit]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) read_limit: Option<u32>,

    /// Most that is sent into the vault, in MiB per second [default: no limit]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) upload_limit: Option<u32>,

    /// How much of what did not change, as far as the change tracking knows, is read and compared
    /// with the last point: `1/N` (another part each time), `all`, or `0` for nothing. Writes
    /// around QEMU leave no other sign
    #[arg(long, value_name = "FRACTION", default_value_t)]
    pub(crate) reread: RereadFraction,

    /// Let `tresor serve` do it as its policy says, and do not wait for the end (over a server: unless
    /// --no-wait)
    #[arg(long)]
    pub(crate) queue: bool,
}

/// The lowest consistency that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RequiredConsistency {
    /// As after a power cut
    Crash,
    /// File systems frozen
    FileSystem,
    /// Applications quiesced
    Application,
}
