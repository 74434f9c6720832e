//! The command line as typed. What it means is decided in `commands`.
#![allow(
    clippy::doc_markdown,
    reason = "these comments are the help text, shown as they are"
)]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tresor_model::{JobId, PointId, RereadFraction, StreamName};

/// Backs up virtual machines of this host into a deduplicated, encrypted vault, and brings them
/// back.
#[derive(Debug, Parser)]
#[command(
    name = "tresor",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(after_help = "\
Examples:
  tresor vault create /srv/vault
  tresor vm add web01 --qmp /run/web01/qmp.sock --agent /run/web01/agent.sock
  tresor backup web01
  tresor points list web01
  tresor restore 0192f3c1-… --to /var/lib/vms/web01

Exit codes: docs/exit-codes.md. Problems and their remedies: docs/problems/.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where Tresor keeps its catalog and keys [default: /var/lib/tresor for root, else
    /// ~/.local/state/tresor]
    #[arg(long, global = true, value_name = "DIR", env = "TRESOR_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,

    /// How results are printed
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,

    /// How progress is shown on stderr
    #[arg(long, global = true, value_name = "HOW", default_value = "auto")]
    pub(crate) progress: ProgressStyle,

    /// Log more to stderr; twice for everything [env: TRESOR_LOG]
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// How results are printed on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    Text,
    /// One JSON object a line; each has a `message_type`
    Json,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressStyle {
    /// A bar on a terminal, else lines; none with JSON output
    Auto,
    /// Plain lines
    Lines,
    /// Not at all
    None,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make and look at vaults
    #[command(subcommand)]
    Vault(VaultCommand),
    /// Register VMs and look at them
    #[command(subcommand)]
    Vm(VmCommand),
    /// Back up a VM now, running or not
    #[command(after_help = "\
A VM that does not run is backed up from its images, as it was when it was last seen running. It may
be started meanwhile: the backup leaves the images to it at once and goes on with the running VM.

Examples:
  tresor backup web01
  tresor backup web01 --require file-system   # fail rather than store a crash-consistent point
  tresor backup web01 --upload-limit 20       # 20 MiB/s into the vault
  tresor backup web01 --reread all            # compare everything with the last point

Reading slows down by itself when the guest's writes get slow.")]
    Backup(BackupArgs),
    /// End what crashes left of Tresor's in VMs and beside them; each backup does it for its VM
    #[command(after_help = "\
Examples:
  tresor reconcile
  tresor reconcile web01 --dry-run")]
    Reconcile(ReconcileArgs),
    /// Look at recovery points
    #[command(subcommand)]
    Points(PointsCommand),
    /// Bring the disks and the machine definition of a recovery point back
    #[command(after_help = "\
Examples:
  tresor restore 0192f3c1-… --to /var/lib/vms/web01
  tresor restore latest:web01 --to /tmp/web01 --disk vda --format raw
  tresor restore latest:web01 --vault /mnt/vault --key-file recovery.txt --to /tmp/web01

The directory gets an image for each disk, machine.json, and boot.sh, which boots the machine as it
was. An interrupted restore goes on where it stopped when the same command is run again.")]
    Restore(RestoreArgs),
    /// Read recovery points back and check every chunk
    Verify(VerifyArgs),
    /// Look at jobs, stop them
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// What the tests of this program need to know of it
    #[command(subcommand, hide = true)]
    Debug(DebugCommand),
    /// The process that owns a freeze (started by `tresor backup`)
    #[command(hide = true)]
    ThawGuard {
        /// Passed by the process that starts it
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
}

/// `tresor debug …`
#[derive(Debug, Subcommand)]
pub(crate) enum DebugCommand {
    /// Every place where a job can be cut off, made from its table of sub-tasks
    KillPoints {
        /// Which job
        #[arg(default_value = "backup")]
        job: CutOffJob,
    },
}

/// Jobs whose interruption is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CutOffJob {
    /// A backup.
    Backup,
}

/// Where the vault is and what opens it.
#[derive(Debug, Clone, Args)]
pub(crate) struct VaultAccess {
    /// Name or directory of the vault [default: the only one known, or the VM's]
    #[arg(long, value_name = "VAULT", env = "TRESOR_VAULT")]
    pub(crate) vault: Option<String>,

    #[command(flatten)]
    pub(crate) key: KeyArgs,
}

/// What opens a vault.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeyArgs {
    /// File with the vault's key or recovery key, readable by its owner only [default: the
    /// systemd credential `tresor-key`, else the key file that `vault create` made]
    #[arg(long, value_name = "FILE", env = "TRESOR_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,

    /// File with the vault's passphrase, readable by its owner only
    #[arg(
        long,
        value_name = "FILE",
        env = "TRESOR_PASSPHRASE_FILE",
        conflicts_with = "key_file"
    )]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// `tresor vault …`
#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Make a vault in an empty or new directory, and print its recovery key once
    #[command(after_help = "\
A vault on the same disk as the VMs is not a backup: it dies with them.

Examples:
  tresor vault create /mnt/backup/vault
  tresor vault create /mnt/backup/vault --name main --passphrase-file pass.txt")]
    Create {
        /// The directory
        path: PathBuf,
        /// The name by which this machine knows it [default: the directory's last component]
        #[arg(long)]
        name: Option<String>,
        /// Also let this passphrase open it (a file, readable by its owner only)
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Make a vault that is there known to this machine, after its catalog was lost or from another
    /// machine
    #[command(after_help = "\
Example:
  tresor vault add /mnt/backup/vault --key-file /root/recovery-key.txt")]
    Add {
        /// The directory
        path: PathBuf,
        /// The name by which this machine knows it [default: the directory's last component]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// The vaults this machine knows
    List,
    /// What is in a vault
    Show {
        #[command(flatten)]
        access: VaultAccess,
    },
}

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
  tresor vm set web01 --exclude scratch")]
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
}

impl VmSetArgs {
    /// Whether no option was given.
    pub(crate) fn changes_nothing(&self) -> bool {
        self.qmp.is_none()
            && self.agent.is_none()
            && !self.no_agent
            && self.exclude.is_empty()
            && self.include.is_empty()
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

/// `tresor backup`
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Name of the VM
    pub(crate) vm: String,

    #[command(flatten)]
    pub(crate) access: VaultAccess,

    /// Where old content of what the guest overwrites is kept while the backup runs [default:
    /// `fleecing` in the state directory]
    #[arg(long, value_name = "DIR", env = "TRESOR_FLEECING_DIR")]
    pub(crate) fleecing_dir: Option<PathBuf>,

    /// Most space that fleecing may use for a disk, in MiB
    #[arg(long, value_name = "MIB")]
    pub(crate) fleecing_limit: Option<u64>,

    /// Fail when the point would be less consistent than this
    #[arg(long, value_name = "CONSISTENCY", default_value = "crash")]
    pub(crate) require: RequiredConsistency,

    /// How long the guest may take to freeze, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "20")]
    pub(crate) freeze_limit: u32,

    /// How long the transfer of the data may take, in seconds [default: a day]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) transfer_limit: Option<u32>,

    /// Most that is read from the VM's disks, in MiB per second [default: no limit]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) read_limit: Option<u32>,

    /// Most that is sent into the vault, in MiB per second [default: no limit]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) upload_limit: Option<u32>,

    /// How much of what did not change, as far as the change tracking knows, is read and compared
    /// with the last point: `1/N` (another part each time), `all`, or `0` for nothing. Writes
    /// around QEMU leave no other sign
    #[arg(long, value_name = "FRACTION", default_value_t)]
    pub(crate) reread: RereadFraction,
}

/// The lowest consistency that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RequiredConsistency {
    /// As after a power cut
    Crash,
    /// File systems frozen
    FileSystem,
    /// Applications quiesced
    Application,
}

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
    /// Stop a job and unwind it
    Cancel {
        /// Its id
        job: JobId,
    },
}
