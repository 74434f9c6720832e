//! The catalog itself.

use std::{convert::Infallible, path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};

use super::{KeyArgs, StoreArgs};

/// `tresor catalog …`
#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// Make a catalog that was lost anew, from the vaults
    ///
    /// Registers the vaults, and the VMs that have recovery points in them as they were last seen, and reads
    /// the list of recovery points. What the catalog knows already stays. Policies, and which VM they
    /// protect, are in no vault: they are to be given again.
    #[command(after_help = "\
The key is found where the vault had it before (keys/NAME.key in the state directory); else give one, and
this machine gets a key of its own, as by `tresor vault add`.

Examples:
  tresor catalog rebuild --vault main=/mnt/backup/vault
  tresor catalog rebuild --vault /mnt/backup/vault --key-file recovery.txt
  tresor catalog rebuild                                 # the list of points of the vaults that are known")]
    Rebuild(RebuildArgs),
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
