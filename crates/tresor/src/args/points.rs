//! Recovery points: lists, restores, verification.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use tresor_model::{PointId, StreamName};

use super::VaultAccess;

/// `tresor points …`
#[derive(Debug, Subcommand)]
pub(crate) enum PointsCommand {
    /// The recovery points in a vault, oldest first
    List {
        /// Only of this VM
        vm: Option<String>,
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
    pub(crate) point: Option<PointSelector>,

    #[command(flatten)]
    pub(crate) access: VaultAccess,
}
