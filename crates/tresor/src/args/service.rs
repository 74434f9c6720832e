//! The service, and what it protects.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};
use tresor_policy::Length;

/// `tresor serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) listening: ListenArgs,

    #[command(flatten)]
    pub(crate) oidc: OidcArgs,

    /// How long jobs that run may go on when the service is told to stop; then they are taken back
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub(crate) grace: Length,

    /// Least time between two starts on one host: a start is what its guests feel
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) start_gap: Length,

    /// On a shared database, go by this machine's certificate authority from now on, instead of the one that
    /// the other processes have
    #[arg(long)]
    pub(crate) adopt_authority: bool,

    /// Where QMP sockets of VMs may be: a path with `*`; may be given several times
    #[arg(
        long,
        value_name = "PATTERN",
        default_values = ["/run/qemu/*.qmp", "/run/qemu/*/qmp.sock"]
    )]
    pub(crate) discover: Vec<String>,

    /// A URL to call while all is well, with /fail when something is at risk: its silence says that nobody schedules
    #[arg(
        long,
        value_name = "URL",
        env = "TRESOR_HEARTBEAT_URL",
        hide_env_values = true
    )]
    pub(crate) heartbeat_url: Option<String>,

    /// How often it is called
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) heartbeat_every: Length,

    /// Do not back up the service's own database into its vaults; by default that is done daily
    #[arg(long)]
    pub(crate) no_database_backup: bool,

    /// A directory below which jobs may restore; may be given several times [default: `restored` in the
    /// state directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) restore_dir: Vec<PathBuf>,

    /// The time zone of schedules that name none [default: this machine's]
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: Option<String>,
}

/// Where the service listens, and what it shows.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Listening")]
pub(crate) struct ListenArgs {
    /// Address and port of the API and of the first page; with 0.0.0.0 other machines reach it
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7440")]
    pub(crate) listen: SocketAddr,

    /// A further DNS name or address for the service's own certificate; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Vec<String>,

    /// A certificate chain (PEM) to show to users of the API, instead of the service's own
    #[arg(long, value_name = "FILE", requires = "certificate_key")]
    pub(crate) certificate: Option<PathBuf>,

    /// The key of --certificate, readable by its owner only
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) certificate_key: Option<PathBuf>,
}

/// People who log in at an identity provider.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logging in by OpenID Connect (docs/login.md)")]
pub(crate) struct OidcArgs {
    /// The provider, as it calls itself: people log in there, and its ID tokens are taken as API tokens
    #[arg(long, value_name = "URL", requires = "oidc_client_id")]
    pub(crate) oidc_issuer: Option<String>,

    /// What the provider calls this service
    #[arg(long, value_name = "ID", requires = "oidc_issuer")]
    pub(crate) oidc_client_id: Option<String>,

    /// A file with the secret that the provider gave this service, readable by its owner only
    #[arg(long, value_name = "FILE", requires = "oidc_issuer")]
    pub(crate) oidc_client_secret_file: Option<PathBuf>,

    /// Where browsers reach this service; the provider has to know this, followed by /login/oidc/callback
    /// [default: https:// and the address of --listen]
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,

    /// Members of this group are administrators; may be given several times
    #[arg(long, value_name = "GROUP", requires = "oidc_issuer")]
    pub(crate) oidc_admin: Vec<String>,

    /// Members of this group are operators; may be given several times
    #[arg(long, value_name = "GROUP", requires = "oidc_issuer")]
    pub(crate) oidc_operator: Vec<String>,

    /// Members of this group are readers; may be given several times
    #[arg(long, value_name = "GROUP", requires = "oidc_issuer")]
    pub(crate) oidc_reader: Vec<String>,

    /// The claim that has the groups
    #[arg(long, value_name = "CLAIM", default_value = "groups")]
    pub(crate) oidc_groups_claim: String,

    /// A scope to ask for, besides `openid`; may be given several times
    #[arg(long, value_name = "SCOPE", default_values = ["profile", "email"])]
    pub(crate) oidc_scope: Vec<String>,

    /// Authorities of the provider's certificate (PEM), besides the system's
    #[arg(long, value_name = "FILE", requires = "oidc_issuer")]
    pub(crate) oidc_ca_file: Option<PathBuf>,
}

/// `tresor policies …`
#[derive(Debug, Subcommand)]
pub(crate) enum PoliciesCommand {
    /// The policies, with their schedules and the longest gap between recovery points
    List,
    /// A policy as a document, and when it is due next
    Show {
        /// Its name
        name: String,
    },
    /// Make a policy, or change one, from a document (docs/policies.md)
    #[command(after_help = "\
Examples:
  tresor policies show nightly > databases.toml    # to begin with
  tresor policies set databases.toml
  tresor policies set -                            # from stdin")]
    Set {
        /// The document, TOML; `-` for stdin. Its `name` says which policy it is
        file: PathBuf,
    },
    /// Remove a policy that protects nothing
    Remove {
        /// Its name
        name: String,
    },
}

/// `tresor protect`
#[derive(Debug, Args)]
pub(crate) struct ProtectArgs {
    /// A VM that is registered, or that the service or a host has found
    pub(crate) vm: String,

    /// What a VM that is not registered yet is called from now on: its own name may be taken [default: its own]
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// The vault of a VM that is not registered yet [default: the only one]
    #[arg(long, value_name = "VAULT")]
    pub(crate) vault: Option<String>,

    /// The policy: when backups start, and which recovery points stay
    #[arg(long, value_name = "NAME", default_value = "nightly")]
    pub(crate) policy: String,
}

/// `tresor unprotect`
#[derive(Debug, Args)]
pub(crate) struct UnprotectArgs {
    /// A protected VM
    pub(crate) vm: String,

    /// Delete its recovery points too, but for those that a pin or a lock holds; they can be brought
    /// back for 7 days
    #[arg(long)]
    pub(crate) delete_data: bool,

    /// Do not ask
    #[arg(long, requires = "delete_data")]
    pub(crate) yes: bool,
}

/// `tresor status`
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// For monitoring: print nothing but what is wrong, and exit with an error when something is
    #[arg(long)]
    pub(crate) check: bool,
}
