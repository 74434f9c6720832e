//! VMs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tresor_model::StreamName;

use super::{KeepArgs, VaultAccess};

/// `tresor vm …`
#[derive(Debug, Subcommand)]
pub(crate) enum VmCommand {
    /// Register a running VM by its QMP socket
    #[command(after_help = "\
Start QEMU with sockets for Tresor alone (each serves one client at a time):
  -qmp unix:/run/web01/qmp.sock,server=on,wait=off
  -device virtio-serial-pci
  -chardev socket,path=/run/web01/agent.sock,server=on,wait=off,id=ga
  -device virtserialport,chardev=ga,name=org.qemu.guest_agent.0")]
    Add {
        /// The name for it
        name: String,
        /// QMP socket
        #[arg(long, value_name = "SOCKET")]
        qmp: PathBuf,
        /// Socket of the QEMU guest agent's channel; without it points are crash-consistent
        #[arg(long, value_name = "SOCKET")]
        agent: Option<PathBuf>,
        /// Name of the vault for its recovery points [default: the only one known]
        #[arg(long, value_name = "VAULT")]
        vault: Option<String>,
        /// A disk to leave out; may be repeated
        #[arg(long, value_name = "DISK")]
        exclude: Vec<StreamName>,
        /// A shared disk (share-rw=on) to back up all the same, read whole each time; may be
        /// repeated
        #[arg(long, value_name = "DISK")]
        include: Vec<StreamName>,
    },
    /// The registered VMs
    List,
    /// A VM as it is now: state, disks, guest agent, last recovery point
    Show {
        /// Its name
        name: String,
    },
    /// Say where a VM is to be found now, and what of it is backed up
    #[command(after_help = "\
Examples:
  tresor vm set web01 --qmp /run/web01/qmp2.sock --agent /run/web01/agent.sock
  tresor vm set web01 --exclude scratch
  tresor vm set web01 --keep-daily 7 --keep-weekly 4   # what `tresor expire` keeps")]
    Set(VmSetArgs),
    /// Give a VM another name; its recovery points stay its own
    #[command(after_help = "\
Example:
  tresor vm rename web01 shop01")]
    Rename {
        /// Its name
        name: String,
        /// Its new name
        to: String,
    },
    /// Stop protecting a VM: forget it and take Tresor's bitmaps out of it; its recovery points stay
    #[command(after_help = "\
Examples:
  tresor vm remove web01
  tresor vm remove web01 --delete-points         # shows what would go, and asks
  tresor vm remove web01 --delete-points --yes")]
    Remove(VmRemoveArgs),
}

/// `tresor vm set`
#[derive(Debug, Args)]
pub(crate) struct VmSetArgs {
    /// Its name
    pub(crate) name: String,
    /// QMP socket; the VM itself must answer there
    #[arg(long, value_name = "SOCKET")]
    pub(crate) qmp: Option<PathBuf>,
    /// Socket of the QEMU guest agent's channel
    #[arg(long, value_name = "SOCKET")]
    pub(crate) agent: Option<PathBuf>,
    /// It has no guest agent any more
    #[arg(long, conflicts_with = "agent")]
    pub(crate) no_agent: bool,
    /// A disk to leave out; may be repeated
    #[arg(long, value_name = "DISK")]
    pub(crate) exclude: Vec<StreamName>,
    /// A disk to back up, also when it was left out before; may be repeated
    #[arg(long, value_name = "DISK")]
    pub(crate) include: Vec<StreamName>,
    #[command(flatten)]
    pub(crate) keep: KeepArgs,
    /// Keep all recovery points: it has no rules of retention any more
    #[arg(long)]
    pub(crate) keep_all: bool,
}

impl VmSetArgs {
    /// Whether no option was given.
    pub(crate) fn changes_nothing(&self) -> bool {
        self.qmp.is_none()
            && self.agent.is_none()
            && !self.no_agent
            && self.exclude.is_empty()
            && self.include.is_empty()
            && self.keep.rules().is_none()
            && !self.keep_all
    }
}

/// `tresor vm remove`
#[derive(Debug, Args)]
pub(crate) struct VmRemoveArgs {
    /// Its name
    pub(crate) name: String,
    /// Also mark its recovery points in the vault as expired
    #[arg(long)]
    pub(crate) delete_points: bool,
    /// Do not ask
    #[arg(long, requires = "delete_points")]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) access: VaultAccess,
}

/// `tresor reconcile`
#[derive(Debug, Args)]
pub(crate) struct ReconcileArgs {
    /// Name of a VM [default: every registered one, and what VMs that are gone left]
    pub(crate) vm: Option<String>,
    /// Only show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Another place where fleecing images were kept
    #[arg(long, value_name = "DIR", env = "TRESOR_FLEECING_DIR")]
    pub(crate) fleecing_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) access: VaultAccess,
}
