//! Who is told of what happens, and how.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::Time;

/// `tresor notify …`
#[derive(Debug, Subcommand)]
pub(crate) enum NotifyCommand {
    /// Add a channel, by which notifications go out
    #[command(subcommand)]
    Add(Box<AddCommand>),
    /// The channels, and whether they work
    List,
    /// Send a test by a channel, now
    Test {
        /// Its name
        name: String,
    },
    /// Remove a channel, and what waits to go by it
    Remove {
        /// Its name
        name: String,
    },
}

/// `tresor notify add …`
#[derive(Debug, Subcommand)]
pub(crate) enum AddCommand {
    /// POST JSON to a server
    #[command(after_help = "\
The body is signed with the secret: docs/monitoring.md says how to check it. With --template, what is sent is
that JSON, with {title}, {text}, {subject} and {event} filled in, as chat services want it.

Examples:
  tresor notify add webhook ops --url https://ops.example.org/tresor --secret-file /etc/tresor/ops.secret
  tresor notify add webhook chat --url https://chat.example.org/hooks/x --template chat.json --only backup_failed,vm_late")]
    Webhook(WebhookArgs),
    /// Send mails
    #[command(after_help = "\
Examples:
  tresor notify add mail admins --smtp-server mx.example.org --from tresor@example.org --to ops@example.org --digest 07:00
  tresor notify add mail night --smtp-server localhost --tls none --from a@example.org --to b@example.org --quiet-time 22:00-07:00")]
    Mail(MailArgs),
}

/// `tresor notify add webhook`
#[derive(Debug, Args)]
pub(crate) struct WebhookArgs {
    /// What to call the channel
    pub(crate) name: String,

    /// Where to POST to
    #[arg(long)]
    pub(crate) url: String,

    /// A file with the secret that signs the body, readable by its owner only
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,

    /// A file with the JSON to send instead of the usual body
    #[arg(long, value_name = "FILE")]
    pub(crate) template: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) when: WhenArgs,
}

/// `tresor notify add mail`
#[derive(Debug, Args)]
pub(crate) struct MailArgs {
    /// What to call the channel
    pub(crate) name: String,

    /// The mail server
    #[arg(long, value_name = "HOST")]
    pub(crate) smtp_server: String,

    /// Its port [default: 587, 465 or 25, by --tls]
    #[arg(long)]
    pub(crate) port: Option<u16>,

    /// How the way there is protected
    #[arg(long, value_name = "HOW", default_value = "starttls")]
    pub(crate) tls: TlsArg,

    /// As whom to log in
    #[arg(long, requires = "password_file")]
    pub(crate) user: Option<String>,

    /// A file with the password, readable by its owner only
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,

    /// Whose mails they are
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: String,

    /// To whom they go; may be given several times
    #[arg(long, value_name = "ADDRESS", required = true)]
    pub(crate) to: Vec<String>,

    /// The subject, with {title}, {subject} and {event} [default: the title, after "tresor" in brackets]
    #[arg(long, value_name = "TEXT")]
    pub(crate) subject: Option<String>,

    #[command(flatten)]
    pub(crate) when: WhenArgs,
}

/// What goes by a channel, and when.
#[derive(Debug, Args)]
pub(crate) struct WhenArgs {
    /// Only these: backup_failed, backup_recovered, vm_late, vm_on_time, alert_opened, alert_resolved
    #[arg(long, value_name = "EVENTS", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// When nothing is to be sent: it waits until that is over
    #[arg(long, value_name = "FROM-UNTIL")]
    pub(crate) quiet_time: Option<String>,

    /// When to tell each day how everything stands
    #[arg(long, value_name = "TIME")]
    pub(crate) digest: Option<Time>,

    /// Set up the channel of that name anew, if there is one
    #[arg(long)]
    pub(crate) replace: bool,
}

/// How the way to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsArg {
    /// TLS, asked for in clear; a server that does not offer it is refused
    Starttls,
    /// TLS from the first byte
    Implicit,
    /// Not at all
    None,
}
