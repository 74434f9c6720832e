//! Hosts: how one is run, and what the service knows of them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tresor_policy::Length;
use tresor_uplink::Address;

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

    /// How long jobs that run may go on when the host is told to stop; then they are taken back
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) grace: Length,
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
