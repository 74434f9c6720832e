//! A service that is asked instead of this machine.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use tresor_identity::{Address, Fingerprint};
use tresor_model::{TokenId, TokenRole};
use tresor_policy::Length;

/// Which service a command is for, and how it is known.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Another machine's service")]
pub(crate) struct ServerArgs {
    /// Ask the service there, instead of working on this machine: https://NAME:PORT [default: the one that
    /// `tresor login` was given, unless --state-dir or --database names this machine's]
    #[arg(long, global = true, value_name = "URL", env = "TRESOR_SERVER")]
    pub(crate) server: Option<Address>,

    /// A file with an API token for it, readable by its owner only [default: TRESOR_API_TOKEN, else
    /// what `tresor login` keeps]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TRESOR_API_TOKEN_FILE"
    )]
    pub(crate) api_token_file: Option<PathBuf>,

    /// Its certificate authority, PEM: `identity/ca.crt` of its state directory [default: what `tresor
    /// login` keeps, else the system's authorities]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TRESOR_SERVER_CA_FILE",
        conflicts_with = "server_fingerprint"
    )]
    pub(crate) server_ca_file: Option<PathBuf>,

    /// The same by the fingerprint that `tresor serve` prints: sha256:…
    #[arg(
        long,
        global = true,
        value_name = "FINGERPRINT",
        env = "TRESOR_SERVER_FINGERPRINT"
    )]
    pub(crate) server_fingerprint: Option<Fingerprint>,

    /// Do not wait for the end of a job that the service was asked for
    #[arg(long, global = true)]
    pub(crate) no_wait: bool,
}

/// `tresor login`
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Where the service is: https://NAME:PORT
    pub(crate) url: Address,

    /// A file with the API token, readable by its owner only; `-` for stdin [default: --api-token-file, else
    /// TRESOR_API_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// `tresor tokens …`
#[derive(Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// The API tokens, without their secrets
    List,
    /// Make an API token; its secret is shown once
    #[command(after_help = "\
Example:
  tresor tokens create monitoring --role reader --valid 90d")]
    Create {
        /// What to call it
        name: String,
        /// What it allows (docs/permissions.md)
        #[arg(long, value_name = "ROLE")]
        role: RoleArg,
        /// How long it is good [default: until it is revoked]
        #[arg(long, value_name = "TIME")]
        valid: Option<Length>,
    },
    /// Revoke an API token, from now on
    Revoke {
        /// Its id
        token: TokenId,
    },
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Everything
    Admin,
    /// The daily work
    Operator,
    /// Looking
    Reader,
}

impl From<RoleArg> for TokenRole {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Admin => Self::Admin,
            RoleArg::Operator => Self::Operator,
            RoleArg::Reader => Self::Reader,
        }
    }
}
