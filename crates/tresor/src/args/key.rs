//! The keys that open a vault.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::VaultAccess;

/// `tresor vault key …`
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// The key slots of a vault
    List {
        #[command(flatten)]
        access: VaultAccess,
    },
    /// Let another key open a vault
    #[command(after_help = "\
Examples:
  tresor vault key add --new-passphrase-file pass.txt --label 'office safe'
  tresor vault key add --new-key-file host7.key --own-domain --label host7
  tresor vault key add --new-recovery-key --recovery-key-svg key.svg

A key file that is not there is made. With --own-domain the key opens a domain of its own: who has it
stores and restores there, and neither reads nor finds what others stored.")]
    Add(KeyAddArgs),
    /// Remove a key slot, after showing what that means
    #[command(after_help = "\
Example:
  tresor vault key remove 0192f3c1-…")]
    Remove(KeyRemoveArgs),
    /// Make a new data key for what is stored from now on; nothing is stored again
    #[command(after_help = "\
Examples:
  tresor vault key rotate
  tresor vault key rotate --domain 0192f3c1-…   # of a host's own domain

Who has a key of the vault reads old and new data, as before: a key that leaked is not shut out by this.")]
    Rotate {
        #[command(flatten)]
        access: VaultAccess,
        /// The ring of the host whose domain gets the key, as `key add --own-domain` printed it
        #[arg(long, value_name = "RING")]
        domain: Option<Uuid>,
    },
}

/// `tresor vault key add`
#[derive(Debug, Args)]
pub(crate) struct KeyAddArgs {
    #[command(flatten)]
    pub(crate) access: VaultAccess,
    #[command(flatten)]
    pub(crate) new: NewKey,
    /// A name for the slot; whoever sees the vault's storage can read it
    #[arg(long, default_value = "")]
    pub(crate) label: String,
    /// Give the key a deduplication domain of its own, in place of the vault's
    #[arg(long, conflicts_with = "new_recovery_key")]
    pub(crate) own_domain: bool,
    /// Also write the recovery key as a picture to print: a new file, readable by you only
    #[arg(long, value_name = "FILE", requires = "new_recovery_key")]
    pub(crate) recovery_key_svg: Option<PathBuf>,
}

/// Exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct NewKey {
    /// The file with the new key; made, if it is not there
    #[arg(long, value_name = "FILE")]
    pub(crate) new_key_file: Option<PathBuf>,
    /// A file with the new passphrase
    #[arg(long, value_name = "FILE")]
    pub(crate) new_passphrase_file: Option<PathBuf>,
    /// A new recovery key, printed once
    #[arg(long)]
    pub(crate) new_recovery_key: bool,
}

/// `tresor vault key remove`
#[derive(Debug, Args)]
pub(crate) struct KeyRemoveArgs {
    /// The slot, as `key list` shows it
    pub(crate) slot: Uuid,
    #[command(flatten)]
    pub(crate) access: VaultAccess,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}
