//! Hosts: how one is run, and what the service knows of them.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};
use tresor_policy::Length;
use tresor_uplink::Address;

use super::StoreArgs;

/// `tresor host`
#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    /// Where the service is: https://NAME:PORT
    #[arg(long, value_name = "URL", env = "TRESOR_SERVER")]
    pub(crate) server: Address,

    /// The token to enrol with, once: `tresor hosts token` makes one. Other users may read it in the list of
    /// processes; --token-file keeps it from them
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    pub(crate) token: Option<String>,

    /// A file with the token
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// What this host is called at the service [default: this machine's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Where QMP sockets of VMs may be: a path with `*`; may be given several times
    #[arg(
        long,
        value_name = "PATTERN",
        default_values = ["/run/qemu/*.qmp", "/run/qemu/*/qmp.sock"]
    )]
    pub(crate) discover: Vec<String>,

    /// A vault in an object store that this host reaches itself, with credentials of its own: the vault's name at
    /// the service, and where it is. Done only where the store is seen to refuse them to replace and to remove
    /// what is there; else through the service, as all other vaults. May be given several times
    #[arg(long, value_name = "VAULT=URL")]
    pub(crate) direct: Vec<Direct>,

    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// How long jobs that run may go on when the host is told to stop; then they are taken back
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub(crate) grace: Length,
}

/// `VAULT=URL`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Direct {
    pub(crate) vault: String,
    pub(crate) url: String,
}

impl FromStr for Direct {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((vault, url)) if !vault.is_empty() && url.contains("://") => Ok(Self {
                vault: vault.to_owned(),
                url: url.to_owned(),
            }),
            _ => Err("this is no VAULT=URL, as in main=s3://bucket/vault"),
        }
    }
}

/// `tresor hosts …`
#[derive(Debug, Subcommand)]
pub(crate) enum HostsCommand {
    /// The hosts that have enrolled
    List,
    /// Make a token by which one host can enrol, once
    #[command(after_help = "\
The token is shown once; it names the service, so that the host gives it to
nobody else. For a host that is known it makes a new certificate: the host keeps its VMs and their points.

Example:
  tresor hosts token node7
  tresor host --server https://tresor.example.org:7440 --name node7 --token-file token.txt    # on node7")]
    Token {
        /// What the host is called
        name: String,
        /// How long the token is good
        #[arg(long, value_name = "TIME", default_value = "1h")]
        valid: Length,
    },
    /// Let a host in no more, whatever certificate it has; its connections end within seconds
    Revoke {
        /// The host
        name: String,
    },
    /// Forget a host that has no VMs any more
    Remove {
        /// The host
        name: String,
    },
}
