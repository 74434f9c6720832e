//! Recovery points: lists, restores, verification.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use tresor_model::{PointId, StreamName, VerifyShare};

use super::{KeyArgs, VaultAccess, retention::duration};

/// `tresor points …`
#[derive(Debug, Subcommand)]
pub(crate) enum PointsCommand {
    /// The recovery points in a vault, oldest first
    List {
        /// Only of this VM
        vm: Option<String>,
        /// Also those that are deleted and can be brought back
        #[arg(long)]
        deleted: bool,
        #[command(flatten)]
        access: VaultAccess,
    },
    /// A recovery point: consistency and its proof, disks, machine
    Show {
        /// Its id, or `latest:VM`
        point: PointSelector,
        #[command(flatten)]
        access: VaultAccess,
    },
    /// Keep retention and deletion away from a recovery point
    Pin {
        /// Its id, or `latest:VM`
        point: PointSelector,
        #[command(flatten)]
        access: VaultAccess,
    },
    /// Take a pin back
    Unpin {
        /// Its id, or `latest:VM`
        point: PointSelector,
        #[command(flatten)]
        access: VaultAccess,
    },
    /// Make a recovery point immutable for a while; this can be extended, never shortened
    #[command(after_help = "\
Examples:
  tresor points lock latest:web01 --for 30d
  tresor points lock 0192f3c1-… --until 2027-01-01T00:00:00Z")]
    Lock {
        /// Its id, or `latest:VM`
        point: PointSelector,
        /// For how long from now on: 30d, 6mo
        #[arg(long = "for", value_name = "DURATION", value_parser = duration, required_unless_present = "until")]
        duration: Option<String>,
        /// Until when
        #[arg(long, value_name = "TIME", conflicts_with = "duration")]
        until: Option<jiff::Timestamp>,
        #[command(flatten)]
        access: VaultAccess,
    },
    /// Delete a recovery point; it can be brought back for a while
    #[command(after_help = "\
Examples:
  tresor points delete 0192f3c1-…
  tresor points delete 0192f3c1-… --grace 30d")]
    Delete {
        /// Its id
        point: PointId,
        /// For how long it can be brought back for sure
        #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration)]
        grace: String,
        /// Also when it is the newest of its VM
        #[arg(long)]
        even_newest: bool,
        #[command(flatten)]
        access: VaultAccess,
    },
    /// Bring a deleted recovery point back
    Undelete {
        /// Its id
        point: PointId,
        #[command(flatten)]
        access: VaultAccess,
    },
}

/// Names a recovery point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PointSelector {
    /// By its id.
    Id(PointId),
    /// The newest of a VM.
    Latest(String),
}

impl std::str::FromStr for PointSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("latest:") {
            Some("") => Err("`latest:` needs the name of a VM behind it".to_owned()),
            Some(vm) => Ok(Self::Latest(vm.to_owned())),
            None => text
                .parse()
                .map(Self::Id)
                .map_err(|error| format!("{error}, nor `latest:VM`")),
        }
    }
}

/// `tresor restore`
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Id of the recovery point, or `latest:VM`
    pub(crate) point: PointSelector,

    /// Directory for the images and the machine definition
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,

    #[command(flatten)]
    pub(crate) access: VaultAccess,

    /// Only this disk; may be repeated
    #[arg(long, value_name = "DISK")]
    pub(crate) disk: Vec<StreamName>,

    /// Format of the images [default: as each was]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<ImageFormat>,

    /// Replace images that are there (never one that is in use)
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Let `tresor serve` do it, below a directory that it was given for this (`--restore-dir`), and do
    /// not wait for the end
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Formats of restored images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImageFormat {
    /// The plain bytes, sparse
    Raw,
    /// QEMU's format
    Qcow2,
}

/// `tresor verify`
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Id of a recovery point, or `latest:VM` [default: every point]
    #[arg(conflicts_with_all = ["sample", "since_last"])]
    pub(crate) point: Option<PointSelector>,

    /// Only so much of the vault's bytes: what was not verified for the longest time
    #[arg(long, value_name = "PERCENT", conflicts_with = "since_last")]
    pub(crate) sample: Option<VerifyShare>,

    /// Only what came since the last verification
    #[arg(long)]
    pub(crate) since_last: bool,

    /// Let `tresor serve` do it, and do not wait for the end
    #[arg(long)]
    pub(crate) queue: bool,

    #[command(flatten)]
    pub(crate) access: VaultAccess,
}

/// `tresor check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Name, directory or URL of the vault [default: the only one known]
    #[arg(env = "TRESOR_VAULT")]
    pub(crate) vault: Option<String>,

    /// Also read the manifests of all recovery points, whatever is found
    #[arg(long)]
    pub(crate) deep: bool,

    #[command(flatten)]
    pub(crate) key: KeyArgs,
}
