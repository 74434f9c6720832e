//! Vaults, and what opens them.

use std::{num::NonZeroU64, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use tresor_backend_object::{ObjectLock, Settings};
use tresor_host::{KeyChoice, absolute};
use tresor_model::{VerifyShare, VerifyShareError};

use super::KeyCommand;

/// Where the vault is and what opens it.
#[derive(Debug, Clone, Args)]
pub(crate) struct VaultAccess {
    /// Name, directory or URL of the vault [default: the only one known, or the VM's]
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

impl KeyArgs {
    /// What was asked for.
    pub(crate) fn choice(&self) -> KeyChoice {
        KeyChoice {
            key_file: self.key_file.clone(),
            passphrase_file: self.passphrase_file.clone(),
        }
    }
}

/// How to reach an object store. No secrets: those come from the environment, a file, or the
/// machine's role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Object stores")]
pub(crate) struct StoreArgs {
    /// URL of the server, when it is not the provider's own
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,

    /// Region (S3) [default: AWS_REGION, else us-east-1]
    #[arg(long)]
    pub(crate) region: Option<String>,

    /// Storage account (Azure) [default: AZURE_STORAGE_ACCOUNT_NAME]
    #[arg(long)]
    pub(crate) account: Option<String>,

    /// File with the credentials, a NAME=VALUE a line as in the environment, readable by its owner
    /// only [default: AWS_*, AZURE_* or GOOGLE_* of the environment, else the machine's role]
    #[arg(long, value_name = "FILE")]
    pub(crate) credentials_file: Option<PathBuf>,

    /// File with further certificate authorities to trust, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// Send at most so many requests per second
    #[arg(long, value_name = "N")]
    pub(crate) request_limit: Option<NonZeroU64>,

    /// How a bucket with S3 Object Lock holds recovery points that are immutable
    #[arg(long, value_name = "MODE", default_value = "governance")]
    pub(crate) object_lock: ObjectLockArg,

    /// Accept a server without TLS: everybody on the way can see and change what is sent
    #[arg(long)]
    pub(crate) allow_http: bool,
}

impl StoreArgs {
    /// The same as the catalog keeps it.
    pub(crate) fn settings(&self) -> Settings {
        let path = |path: &Option<PathBuf>| path.as_deref().map(absolute);
        Settings {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            account: self.account.clone(),
            ca_file: path(&self.ca_file),
            credentials_file: path(&self.credentials_file),
            request_limit: self.request_limit,
            object_lock: match self.object_lock {
                ObjectLockArg::Off => ObjectLock::Off,
                ObjectLockArg::Governance => ObjectLock::Governance,
                ObjectLockArg::Compliance => ObjectLock::Compliance,
            },
            allow_http: self.allow_http,
        }
    }
}

/// What is to be made of S3 Object Lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ObjectLockArg {
    /// Nothing: only Tresor keeps what is immutable
    Off,
    /// Held until the date; who has s3:BypassGovernanceRetention can still remove it
    #[default]
    Governance,
    /// Held until the date, whoever asks: a mistake in the date cannot be undone
    Compliance,
}

/// A share, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShareOrNone(pub(crate) Option<VerifyShare>);

impl std::str::FromStr for ShareOrNone {
    type Err = VerifyShareError;

    fn from_str(text: &str) -> Result<Self, VerifyShareError> {
        match text {
            "0" | "0%" => Ok(Self(None)),
            _ => text.parse().map(|share| Self(Some(share))),
        }
    }
}

/// `tresor vault …`
#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Make a vault in an empty or new directory or in an object store, and print its recovery key
    /// once
    #[command(after_help = "\
A vault on the same disk as the VMs is not a backup: it dies with them.

Examples:
  tresor vault create /mnt/backup/vault
  tresor vault create /mnt/backup/vault --name main --passphrase-file pass.txt
  tresor vault create s3://bucket/vault --region eu-central-1
  tresor vault create az://container/vault --account store1 --credentials-file azure.env")]
    Create {
        /// The directory, or s3://BUCKET/PREFIX, az://CONTAINER/PREFIX, gs://BUCKET/PREFIX
        #[arg(value_name = "DIR|URL")]
        path: PathBuf,
        /// The name by which this machine knows it [default: the last component]
        #[arg(long)]
        name: Option<String>,
        /// Also let this passphrase open it (a file, readable by its owner only)
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// Also write the recovery key as a picture to print: a new file, readable by you only
        #[arg(long, value_name = "FILE")]
        recovery_key_svg: Option<PathBuf>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// The keys that open a vault
    #[command(subcommand)]
    Key(KeyCommand),
    /// Make a vault that is there known to this machine, after its catalog was lost or from another
    /// machine
    #[command(after_help = "\
Example:
  tresor vault add /mnt/backup/vault --key-file /root/recovery-key.txt")]
    Add {
        /// The directory, or s3://BUCKET/PREFIX, az://CONTAINER/PREFIX, gs://BUCKET/PREFIX
        #[arg(value_name = "DIR|URL")]
        path: PathBuf,
        /// The name by which this machine knows it [default: the last component]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        key: KeyArgs,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Examine a store: does it keep what a vault relies on, what do the credentials allow
    ///
    /// Works in an area of its own below the vault, or where one is to be; needs no key.
    #[command(after_help = "\
Examples:
  tresor vault doctor
  tresor vault doctor s3://bucket/vault --region eu-central-1")]
    Doctor {
        /// Name, directory or URL [default: the only vault that is known]
        #[arg(value_name = "VAULT|DIR|URL")]
        vault: Option<String>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Change how a vault is looked after, and how it is reached in an object store
    ///
    /// Options of the store are given all anew. After each backup into the vault, --verify-share of it is
    /// read back: what was not verified for the longest time. A hundred backups at 1% read all of it once.
    /// Damage is told as by `tresor verify`, and does not fail the backup.
    #[command(after_help = "\
Examples:
  tresor vault set main --verify-share 1%
  tresor vault set main --verify-share 0      # not any more
  tresor vault set main --endpoint https://s3.example.net --object-lock compliance")]
    Set {
        /// Name of the vault
        #[arg(value_name = "VAULT")]
        name: String,
        /// Read so much of it back after each backup; 0: nothing
        #[arg(long, value_name = "PERCENT")]
        verify_share: Option<ShareOrNone>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Bring back what the store holds and somebody hid behind delete markers (S3 Object Lock)
    ///
    /// Needs no key; credentials that may list and remove versions.
    #[command(after_help = "\
Examples:
  tresor vault unhide main --dry-run
  tresor vault unhide s3://bucket/vault --region eu-central-1")]
    Unhide {
        /// Name or URL [default: the only vault that is known]
        #[arg(value_name = "VAULT|URL")]
        vault: Option<String>,
        /// Only show what is hidden
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        store: StoreArgs,
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
