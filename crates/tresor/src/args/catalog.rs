//! The catalog itself.

use std::{convert::Infallible, path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};
use tresor_model::VmId;

use super::{KeyArgs, StoreArgs};

/// `tresor catalog …`
#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// Make a catalog that was lost anew, from the vaults
    ///
    /// Registers the vaults, and the VMs that have recovery points in them as they were last seen, and reads
    /// the list of recovery points. What the catalog knows already stays. Policies, and which VM they
    /// protect, come back by `tresor catalog restore` only, from a backup of the database.
    #[command(after_help = "\
The key is found where the vault had it before (keys/NAME.key in the state directory); else give one, and
this machine gets a key of its own, as by `tresor vault add`.

Examples:
  tresor catalog rebuild --vault main=/mnt/backup/vault
  tresor catalog rebuild --vault /mnt/backup/vault --key-file recovery.txt
  tresor catalog rebuild                                 # the list of points of the vaults that are known")]
    Rebuild(RebuildArgs),
    /// Back up the database of this installation into a vault; the service does it daily
    ///
    /// What no vault has by itself: policies, what they protect, hosts, tokens (their hashes), channels, jobs and
    /// the audit log, and the certificate authority. Never a key of a vault. The newest backup of 7 days and of 4
    /// weeks stays.
    #[command(after_help = "\
Examples:
  tresor catalog backup
  tresor catalog backup offsite")]
    Backup(CatalogBackupArgs),
    /// Bring an installation back from a vault alone, on another machine or into another kind of database
    #[command(after_help = "\
All that it takes is the vault and a key of it. The list of recovery points is read from the vault, so that
none is missing that was made after the backup.

Examples:
  tresor catalog restore /mnt/vault --key-file recovery.txt --list
  tresor catalog restore /mnt/vault --key-file recovery.txt
  tresor catalog restore s3://bucket/vault --key-file recovery.txt --at 2026-11-20
  tresor catalog restore /srv/vault --key-file recovery.txt --database-file postgres.url   # from SQLite to PostgreSQL")]
    Restore(Box<CatalogRestoreArgs>),
}

/// `tresor catalog backup`
#[derive(Debug, Args)]
pub(crate) struct CatalogBackupArgs {
    /// The vault, by name, directory or URL [default: the only one]
    pub(crate) vault: Option<String>,

    #[command(flatten)]
    pub(crate) key: KeyArgs,
}

/// `tresor catalog restore`
#[derive(Debug, Args)]
pub(crate) struct CatalogRestoreArgs {
    /// The vault's directory or URL
    #[arg(value_name = "DIR|URL")]
    pub(crate) vault: PathBuf,

    /// The state directory to fill [default: that of all commands]
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,

    /// Only list the backups that are there
    #[arg(long)]
    pub(crate) list: bool,

    /// The newest backup that is not younger than this: 2026-11-28, 2026-11-28T12:30, or with a zone
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,

    /// Whose database, where several installations keep theirs in the vault
    #[arg(long, value_name = "ID")]
    pub(crate) installation: Option<VmId>,

    /// The machine of the service in whose place this one works, where several shared the database [default: the
    /// only one]
    #[arg(long, value_name = "NAME")]
    pub(crate) as_host: Option<String>,

    /// Replace the database and the certificate authority that are there
    #[arg(long)]
    pub(crate) overwrite: bool,

    #[command(flatten)]
    pub(crate) key: KeyArgs,

    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// `tresor catalog rebuild`
#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    /// A vault, by the name that it is to have here and its directory or URL; may be given several times
    /// [default: those that are known]
    #[arg(long, value_name = "[NAME=]DIR|URL")]
    pub(crate) vault: Vec<NamedVault>,

    #[command(flatten)]
    pub(crate) key: KeyArgs,

    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Where a vault is, and what it is to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedVault {
    pub(crate) name: Option<String>,
    pub(crate) path: PathBuf,
}

impl FromStr for NamedVault {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        // A directory may have an equals sign as well, behind a slash.
        let named = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty() && !name.contains('/'));
        Ok(match named {
            Some((name, path)) => Self {
                name: Some(name.to_owned()),
                path: path.into(),
            },
            None => Self {
                name: None,
                path: text.into(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_before_an_equals_sign_and_never_a_path() {
        for (text, name, path) in [
            ("main=/mnt/vault", Some("main"), "/mnt/vault"),
            ("a=s3://bucket/p=q", Some("a"), "s3://bucket/p=q"),
            ("/mnt/a=b", None, "/mnt/a=b"),
            ("s3://bucket/a=b", None, "s3://bucket/a=b"),
            ("vault", None, "vault"),
        ] {
            let Ok(read) = text.parse::<NamedVault>();
            assert_eq!(read.name.as_deref(), name, "{text}");
            assert_eq!(read.path, PathBuf::from(path), "{text}");
        }
    }
}
