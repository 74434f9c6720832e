//! Copies in other vaults, and repairs from them.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{KeyArgs, ObjectLockArg, StoreArgs, VaultAccess};

/// `tresor copy`
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// Names of VMs or ids of recovery points [default: everything that is newer than
    /// what was copied before]
    #[arg(value_name = "VM|POINT")]
    pub(crate) what: Vec<String>,

    /// Name, directory or URL of the vault to copy from [default: the only other one known]
    #[arg(long, value_name = "VAULT")]
    pub(crate) from: Option<String>,

    /// Name, directory or URL of the vault to copy to
    #[arg(long, value_name = "VAULT")]
    pub(crate) to: String,

    /// How to reach the one to copy from, when this machine does not know it
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    #[command(flatten)]
    pub(crate) to_store: ToStoreArgs,

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

    /// Let `tresor serve` do it, and do not wait for the end
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) queue: bool,

    /// Only show what would be copied
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How to reach the object store of the vault to copy to, when this machine does not know that vault.
#[derive(Debug, Args)]
#[command(next_help_heading = "Object store to copy to")]
pub(crate) struct ToStoreArgs {
    /// The same as without `to-`, for the vault to copy to
    #[arg(long, value_name = "URL")]
    to_endpoint: Option<String>,

    /// The same as without `to-`, for the vault to copy to
    #[arg(long, value_name = "REGION")]
    to_region: Option<String>,

    /// The same as without `to-`, for the vault to copy to
    #[arg(long, value_name = "ACCOUNT")]
    to_account: Option<String>,

    /// The same as without `to-`, for the vault to copy to
    #[arg(long, value_name = "FILE")]
    to_credentials_file: Option<PathBuf>,

    /// The same as without `to-`, for the vault to copy to
    #[arg(long, value_name = "FILE")]
    to_ca_file: Option<PathBuf>,

    /// The same as without `to-`, for the vault to copy to
    #[arg(long, value_name = "N")]
    to_request_limit: Option<NonZeroU64>,

    /// The same as without `to-`, for the vault to copy to
    #[arg(long, value_name = "MODE", default_value = "governance")]
    to_object_lock: ObjectLockArg,

    /// The same as without `to-`, for the vault to copy to
    #[arg(long)]
    to_allow_http: bool,
}

impl ToStoreArgs {
    /// As options of any store.
    pub(crate) fn store(&self) -> StoreArgs {
        StoreArgs {
            endpoint: self.to_endpoint.clone(),
            region: self.to_region.clone(),
            account: self.to_account.clone(),
            credentials_file: self.to_credentials_file.clone(),
            ca_file: self.to_ca_file.clone(),
            request_limit: self.to_request_limit,
            object_lock: self.to_object_lock,
            allow_http: self.to_allow_http,
        }
    }
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
