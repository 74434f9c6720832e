//! Vaults, and what opens them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Where the vault is and what opens it.
#[derive(Debug, Clone, Args)]
pub(crate) struct VaultAccess {
    /// Name or directory of the vault [default: the only one known, or the VM's]
    #[arg(long, value_name = "VAULT", env = "TRESOR_VAULT")]
    pub(crate) vault: Option<String>,

    #[command(flatten)]
    pub(crate) key: KeyArgs,
}

/// What opens a vault.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeyArgs {
    /// File with the vault's key or recovery key, readable by its owner only [default: the
    /// systemd credential `tresor-key`, else the key file that `vault create` made]
    #[arg(long, value_name = "FILE", env = "TRESOR_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,

    /// File with the vault's passphrase, readable by its owner only
    #[arg(
        long,
        value_name = "FILE",
        env = "TRESOR_PASSPHRASE_FILE",
        conflicts_with = "key_file"
    )]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// `tresor vault …`
#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Make a vault in an empty or new directory, and print its recovery key once
    #[command(after_help = "\
A vault on the same disk as the VMs is not a backup: it dies with them.

Examples:
  tresor vault create /mnt/backup/vault
  tresor vault create /mnt/backup/vault --name main --passphrase-file pass.txt")]
    Create {
        /// The directory
        path: PathBuf,
        /// The name by which this machine knows it [default: the directory's last component]
        #[arg(long)]
        name: Option<String>,
        /// Also let this passphrase open it (a file, readable by its owner only)
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Make a vault that is there known to this machine, after its catalog was lost or from another
    /// machine
    #[command(after_help = "\
Example:
  tresor vault add /mnt/backup/vault --key-file /root/recovery-key.txt")]
    Add {
        /// The directory
        path: PathBuf,
        /// The name by which this machine knows it [default: the directory's last component]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// The vaults this machine knows
    List,
    /// Make all recovery points of a vault immutable for some days; never to be taken back
    #[command(after_help = "\
Every recovery point, also those that are there, then stays for at least so many days from its commit:
nobody can delete or expire it with Tresor before. The days can be raised later, never lowered.

Example:
  tresor vault lock main --min-days 30")]
    Lock {
        /// Name or directory of the vault
        vault: String,
        /// Days
        #[arg(long, value_name = "D", value_parser = clap::value_parser!(u32).range(1..))]
        min_days: u32,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// What is in a vault
    Show {
        #[command(flatten)]
        access: VaultAccess,
    },
}
