//! The configuration file.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

/// `tresor config …`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print each option, the value that counts, and where it comes from
    #[command(after_help = "\
Examples:
  tresor config show
  tresor config show serve -- --grace 5m      # as `tresor serve --grace 5m` would have it")]
    Show {
        /// One table only
        table: Option<ConfigTable>,
        /// Options of a start that is not made, behind `--`
        #[arg(last = true, requires = "table")]
        options: Vec<std::ffi::OsString>,
    },
    /// Say what is wrong in a file
    Check {
        /// The file [default: the one that is read]
        file: Option<PathBuf>,
    },
    /// Print a file with every option: what it is for, and its default
    #[command(after_help = "\
Example:
  tresor config example > /etc/tresor/tresor.toml")]
    Example,
}

/// A table of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConfigTable {
    /// `tresor serve`
    Serve,
    /// `tresor host`
    Host,
}
