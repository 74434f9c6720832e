//! The command line as typed. What it means is decided in `commands`.
#![allow(
    clippy::doc_markdown,
    reason = "these comments are the help text, shown as they are"
)]

mod backup;
mod catalog;
mod collect;
mod config;
mod copy;
mod host;
mod jobs;
mod key;
mod notify;
mod points;
mod retention;
mod server;
mod service;
mod vault;
mod vm;

pub(crate) use backup::{BackupArgs, FREEZE_LIMIT_S, RequiredConsistency};
pub(crate) use catalog::{
    CatalogBackupArgs, CatalogCommand, CatalogRestoreArgs, NamedVault, RebuildArgs,
};
pub(crate) use collect::{CollectArgs, SESSION_AGE};
pub(crate) use config::{ConfigCommand, ConfigTable};
pub(crate) use copy::{CopyArgs, ReadBackArg, RepairArgs};
pub(crate) use host::{HostArgs, HostsCommand};
pub(crate) use jobs::JobsCommand;
pub(crate) use key::{KeyAddArgs, KeyCommand, KeyRemoveArgs};
pub(crate) use notify::{AddCommand, MailArgs, NotifyCommand, TlsArg, WebhookArgs, WhenArgs};
pub(crate) use points::{
    CheckArgs, ImageFormat, PointSelector, PointsCommand, RestoreArgs, VerifyArgs,
};
pub(crate) use retention::{ExpireArgs, KeepArgs};
pub(crate) use server::{LoginArgs, RoleArg, ServerArgs, TokensCommand};
pub(crate) use service::{
    ListenArgs, OidcArgs, PoliciesCommand, ProtectArgs, ServeArgs, StatusArgs, UnprotectArgs,
};
pub(crate) use vault::{KeyArgs, ObjectLockArg, ShareOrNone, StoreArgs, VaultAccess, VaultCommand};
pub(crate) use vm::{ReconcileArgs, VmCommand, VmRemoveArgs, VmSetArgs};

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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

    #[command(flatten)]
    pub(crate) database: DatabaseArgs,

    /// The configuration file; empty for none [default: /etc/tresor/tresor.toml where there is one]
    #[arg(long, global = true, value_name = "FILE", env = "TRESOR_CONFIG")]
    pub(crate) config: Option<std::ffi::OsString>,

    #[command(flatten)]
    pub(crate) service: ServerArgs,

    /// How results are printed
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,

    /// How progress is shown on stderr
    #[arg(long, global = true, value_name = "HOW", default_value = "auto")]
    pub(crate) progress: ProgressStyle,

    /// Log more to stderr; twice for everything [env: TRESOR_LOG]
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// How the log is written to stderr
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line, with the job's trace and span ids
    Json,
}

/// Where the catalog is.
#[derive(Debug, Clone, Args)]
pub(crate) struct DatabaseArgs {
    /// Keep the catalog in PostgreSQL, which several machines may share: postgres://USER@HOST/NAME. A
    /// password in it is seen in lists of processes: then use --database-file [default: SQLite in the state
    /// directory]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TRESOR_DATABASE",
        hide_env_values = true
    )]
    pub(crate) database: Option<String>,

    /// The same, by a file with the URL that only its owner can read
    #[arg(long, global = true, value_name = "FILE", env = "TRESOR_DATABASE_FILE")]
    pub(crate) database_file: Option<PathBuf>,
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
    /// Remove recovery points that the rules of retention do not keep
    #[command(after_help = "\
Prints what becomes of each recovery point, and why, then asks. A point that goes is deleted, and can be
brought back until its grace is over (`tresor points undelete`); a run after that ends it for good. The
newest point of a VM, pinned and immutable ones always stay. Without --keep-… the rules of each VM count
(`tresor vm set VM --keep-daily 7`); a VM without rules keeps everything.

Examples:
  tresor expire web01 --keep-daily 7 --keep-weekly 4 --dry-run
  tresor expire --apply 5f0c2b9a41d7e386
  tresor expire --yes                            # every VM by its own rules, for a timer")]
    Expire(ExpireArgs),
    /// Bring the disks and the machine definition of a recovery point back
    #[command(after_help = "\
Examples:
  tresor restore 0192f3c1-… --to /var/lib/vms/web01
  tresor restore latest:web01 --to /tmp/web01 --disk vda --format raw
  tresor restore latest:web01 --vault /mnt/vault --key-file recovery.txt --to /tmp/web01

The directory gets an image for each disk, machine.json, and boot.sh, which boots the machine as it
was. An interrupted restore goes on where it stopped when the same command is run again.")]
    Restore(RestoreArgs),
    /// Look at the structure of a vault, without reading what is stored
    #[command(after_help = "\
Is all there that recovery points and the index speak of, in its full size; are keys, sessions and marks
whole? What is wrong is printed with the recovery points that it affects, where that can be told: without a
key only those whose own objects are damaged. What changed inside of a stored object only `tresor verify`
finds.

Examples:
  tresor check
  tresor check /mnt/backup/vault          # without a key, on the machine that stores it
  tresor check --deep")]
    Check(CheckArgs),
    /// Read recovery points back and check every chunk
    #[command(after_help = "\
With --sample and --since-last stored objects are compared with their public hashes, which needs no key;
with a key the key rings are opened too, and --since-last reads the manifests of new recovery points. What
was verified when is noted in the state directory: as many samples as make 100 percent read the whole vault.
docs/verifying.md says which of them finds what.

Examples:
  tresor verify
  tresor verify latest:web01
  tresor verify --sample 5%
  tresor verify --since-last")]
    Verify(VerifyArgs),
    /// Copy recovery points to a second vault, on another disk or machine
    #[command(after_help = "\
Only what the other vault does not know is sent; a copy that was interrupted goes on when the same
command is run again. Everything that is copied is verified. What the retention of the other vault has
removed is not brought back.

Examples:
  tresor copy --from main --to offsite
  tresor copy --to offsite web01 --newest 1 --read-back all
  tresor copy --to offsite --dry-run

When something in the first vault is lost, `tresor restore` reads it from the copy, and `tresor
repair` puts it back.")]
    Copy(Box<CopyArgs>),
    /// Put back what a vault has lost, from copies in other vaults
    #[command(after_help = "\
Looks for what is missing, and for what `tresor verify` found damaged; says which recovery points
are affected, and what is left afterwards. What the VMs' disks still have, the next backup stores
again by itself.

Examples:
  tresor verify; tresor repair
  tresor repair --vault main --from /mnt/usb/vault --from-key-file recovery.txt
  tresor repair --dry-run")]
    Repair(RepairArgs),
    /// Free what no recovery point in a vault uses any more
    #[command(after_help = "\
Runs beside backups and restores. Shows its plan, waits for backups that began before it, then deletes.
An interrupted collect goes on when the command is run again, on any machine.

Examples:
  tresor collect --dry-run
  tresor collect
  tresor collect --min-gain 101                        # only delete, e.g. when the storage is full
  tresor collect --abort-sessions-older-than 36h")]
    Collect(CollectArgs),
    /// Run the service: back up what is protected when its policy says so
    #[command(after_help = "\
Runs until it is told to stop (SIGTERM, Ctrl-C): then it begins nothing new, lets jobs that run end, and
takes back those that do not within --grace. Killed, it leaves jobs that the next one ends.

Examples:
  tresor serve
  tresor protect web01 --policy nightly
  tresor status")]
    Serve(Box<ServeArgs>),
    /// Run a host of a service: back up the VMs of this machine when the service says so
    #[command(after_help = "\
The host dials the service, and nobody dials the host. It needs no access to the vaults' storage: what it
stores goes through the service, which lets it delete and replace nothing.

Examples:
  tresor hosts token node7                                    # where the service runs
  tresor host --server https://tresor.example.org:7440 --name node7 --token-file token.txt
  tresor host --server https://tresor.example.org:7440        # from then on")]
    Host(HostArgs),
    /// Look at hosts, let them in, shut them out
    #[command(subcommand)]
    Hosts(HostsCommand),
    /// Make, change and look at policies: when backups start, which recovery points stay
    #[command(subcommand)]
    Policies(PoliciesCommand),
    /// Protect a VM by a policy, or by another one
    Protect(ProtectArgs),
    /// Back a VM up no more; its recovery points stay
    Unprotect(UnprotectArgs),
    /// How it all stands, on one screen
    #[command(after_help = "\
Examples:
  tresor status
  tresor status --check        # for monitoring: exits with an error when the service is down or a VM is at risk")]
    Status(StatusArgs),
    /// Look after the catalog: what Tresor knows of vaults, VMs and recovery points
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// Who is told of what happens, by mail or webhook
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// Look at jobs, follow them, stop them
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Look at the configuration file, and at what counts
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make, look at and revoke tokens of the API
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Keep a service and a token for it: commands ask it from then on, instead of working on this machine
    #[command(after_help = "\
Checks the token. How the service is known is kept too: by --server-ca-file, --server-fingerprint, the system's
authorities, or the fingerprint that is shown and asked about; compare it with the one that `tresor serve` prints.

Examples:
  tresor login https://tresor.example.org:7440 --token-file token.txt
  tresor status
  tresor logout")]
    Login(LoginArgs),
    /// Forget what `tresor login` keeps
    Logout,
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// What the tests and the packages of this program need to know of it
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
    /// Write a manual page for each command
    Manuals {
        /// The directory to write them into
        dir: PathBuf,
    },
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
