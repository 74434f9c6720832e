//! Jobs.

use clap::Subcommand;
use tresor_model::JobId;

/// `tresor jobs …`
#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// The jobs, newest first
    List {
        /// How many
        #[arg(long, default_value = "20")]
        limit: u32,
    },
    /// A job with its sub-tasks, and what went wrong
    Show {
        /// Its id
        job: JobId,
    },
    /// Wait for the end of a job, and show how far it is
    Follow {
        /// Its id
        job: JobId,
    },
    /// Stop a job and unwind it
    Cancel {
        /// Its id
        job: JobId,
    },
}
