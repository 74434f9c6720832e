//! A place for one test: a state directory, a vault, and the program under test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tresor_problem::Kind;
use tresor_testkit::{Guest, GuestDisk};

/// No command of a test takes this long on a machine that works.
const LIMIT: Duration = Duration::from_secs(240);

/// The name under which a test's VM is registered.
pub(crate) const VM: &str = "vm";

/// State, vault and recovery key of one test.
pub(crate) struct Lab {
    dir: TempDir,
    pub(crate) recovery_key: String,
    /// URL of a shared database; `None`: the catalog is in the state directory.
    pub(crate) database: Option<String>,
}

impl Lab {
    /// A lab with a new vault.
    pub(crate) async fn new() -> Self {
        let mut lab = Self::without_vault();
        lab.create_vault().await;
        lab
    }

    /// A lab of a machine that has never seen Tresor.
    pub(crate) fn without_vault() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            recovery_key: String::new(),
            database: None,
        }
    }

    pub(crate) async fn create_vault(&mut self) {
        let created = self
            .run(&["vault", "create", self.vault().to_str().unwrap()])
            .await
            .ok();
        self.recovery_key = created["recovery_key"].as_str().unwrap().to_owned();
    }

    /// A lab with a VM registered, guest agent included.
    pub(crate) async fn with(guest: &Guest) -> Self {
        let lab = Self::new().await;
        lab.register(guest).await.ok();
        lab
    }

    pub(crate) async fn register(&self, guest: &Guest) -> Run {
        let (qmp, agent) = (guest.qmp_socket(), guest.agent_socket());
        let (qmp, agent) = (qmp.to_str().unwrap(), agent.to_str().unwrap());
        self.run(&["vm", "add", VM, "--qmp", qmp, "--agent", agent])
            .await
    }

    /// Registers the VM behind a socket, without a guest agent.
    pub(crate) async fn register_socket(&self, qmp: &Path, more: &[&str]) -> Run {
        let add = ["vm", "add", VM, "--qmp", qmp.to_str().unwrap()];
        self.run(&[&add[..], more].concat()).await
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.path("vault")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The program with this lab's state, printing JSON.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_with_state(&self.state(), args)
    }

    /// The same, printing what people read.
    pub(crate) fn text_command(&self, args: &[&str]) -> Command {
        self.command_printing("text", &self.state(), args)
    }

    pub(crate) fn command_with_state(&self, state: &Path, args: &[&str]) -> Command {
        self.command_printing("json", state, args)
    }

    fn command_printing(&self, format: &str, state: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tresor"));
        command
            .args(["--output", format, "--state-dir"])
            .arg(state)
            .args(args)
            .env("TRESOR_CONFIG", "") // of the test's machine
            .env_remove("TRESOR_KEY_FILE")
            .env_remove("TRESOR_VAULT")
            .env_remove("TRESOR_DATABASE")
            .env_remove("TRESOR_SERVER")
            .envs(self.database.as_ref().map(|url| ("TRESOR_DATABASE", url)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Run {
        finish(args, self.command(args).spawn().unwrap()).await
    }

    /// Runs on another machine, which keeps its state there.
    pub(crate) async fn run_with_state(&self, state: &Path, args: &[&str]) -> Run {
        finish(args, self.command_with_state(state, args).spawn().unwrap()).await
    }

    /// Runs on a machine that knows nothing: an empty state directory.
    pub(crate) async fn run_elsewhere(&self, args: &[&str]) -> Run {
        let state = tempfile::tempdir().unwrap();
        let child = self.command_with_state(state.path(), args).spawn().unwrap();
        finish(args, child).await
    }

    /// The job must have ended by this problem: its code, as `jobs show` says.
    pub(crate) async fn records(&self, code: &str, job: &str) {
        let shown = self.run(&["jobs", "show", job]).await.ok();
        assert_eq!(shown["view"]["cause"]["code"], code, "{shown}");
    }

    /// The job must have completed with this warning, a problem with a remedy, as `jobs show` says.
    pub(crate) async fn warns(&self, code: &str, job: &str) {
        let shown = self.run(&["jobs", "show", job]).await.ok();
        let warnings = shown["view"]["warnings"].as_array().unwrap();
        let problems = warnings.iter().map(|warned| &warned["warning"]["problem"]);
        let mut found = problems.filter(|problem| problem["code"] == code);
        let problem = found.next().unwrap_or_else(|| panic!("no {code}: {shown}"));
        assert!(!problem["remedy"].as_array().unwrap().is_empty());
    }

    pub(crate) async fn backup(&self) -> Value {
        self.run(&["backup", VM]).await.ok()
    }

    /// Restores the newest point into a new directory, as raw images.
    pub(crate) async fn restore_raw(&self, point: &str, to: &str) -> PathBuf {
        self.restore_raw_of("vault", point, to).await
    }

    /// The same from the vault of that name.
    pub(crate) async fn restore_raw_of(&self, vault: &str, point: &str, to: &str) -> PathBuf {
        let to = self.path(to);
        self.run(&[
            "restore",
            point,
            "--vault",
            vault,
            "--to",
            to.to_str().unwrap(),
            "--format",
            "raw",
        ])
        .await
        .ok();
        to
    }
}

/// Waits for the program's end.
pub(crate) async fn finish(args: &[&str], child: Child) -> Run {
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("`tresor {}` hangs", args.join(" ")))
        .unwrap();
    Run {
        command: args.join(" "),
        output,
    }
}

/// What one run of the program came to.
pub(crate) struct Run {
    command: String,
    output: Output,
}

impl Run {
    fn explain(&self) -> String {
        format!(
            "`tresor {}` ended with {}\nstdout: {}\nstderr: {}",
            self.command,
            self.output.status,
            String::from_utf8_lossy(&self.output.stdout),
            String::from_utf8_lossy(&self.output.stderr),
        )
    }

    /// All results.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.output.stdout);
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{}", self.explain())))
            .collect()
    }

    /// The result of a run that must succeed.
    pub(crate) fn ok(&self) -> Value {
        assert!(self.output.status.success(), "{}", self.explain());
        self.lines().pop().unwrap_or_default()
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.output.status.success()
    }

    /// All results of a run that must succeed.
    pub(crate) fn rows(&self) -> Vec<Value> {
        self.ok();
        self.lines()
    }

    /// The problem of a run that must end with this one: code, exit code, remedy.
    pub(crate) fn raises(&self, code: &str) -> Value {
        let entry = Kind::ENTRIES.iter().find(|entry| entry.code == code);
        let entry = entry.unwrap_or_else(|| panic!("{code} is no problem of the catalog"));
        let problem = self
            .lines()
            .pop()
            .unwrap_or_else(|| panic!("{}", self.explain()));
        assert_eq!(problem["message_type"], "problem", "{}", self.explain());
        assert_eq!(problem["code"], code, "{}", self.explain());
        assert_eq!(
            self.output.status.code(),
            Some(entry.exit.code().into()),
            "{}",
            self.explain()
        );
        assert!(!problem["remedy"].as_array().unwrap().is_empty());
        problem
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

/// A file that only its owner can read.
pub(crate) fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The name that the program gives to a disk of the guest: its device's id.
pub(crate) fn disk_name(disk: &GuestDisk) -> String {
    format!("dev-{}", disk.name)
}

/// The restored image that belongs to a disk of the guest.
pub(crate) fn restored(dir: &Path, disk: &GuestDisk, format: &str) -> PathBuf {
    dir.join(format!("{}.{format}", disk_name(disk)))
}

/// The guest must be as if nothing had happened: it runs, writes go through, no writer saw an
/// error, and nothing of ours is left in QEMU but the bitmap of the last point.
pub(crate) async fn assert_unharmed(guest: &Guest) {
    assert_eq!(guest.monitor().unwrap().status().await.unwrap(), "running");
    let written = guest
        .exec("echo alive > /alive && sync && echo alive > /data/alive && sync")
        .await;
    written.unwrap().ok().unwrap();
    let errors = guest.exec("test ! -e /run/tresor/io-error").await.unwrap();
    assert_eq!(
        errors.code, 0,
        "a writer saw an I/O error: {}",
        errors.output
    );
    let nodes = nodes_of_ours(guest).await;
    assert!(nodes.is_empty(), "left in QEMU: {nodes:?}");
    let exports = guest
        .monitor()
        .unwrap()
        .execute("query-block-exports", Value::Null)
        .await;
    assert_eq!(exports.unwrap(), serde_json::json!([]));
}

async fn nodes_of_ours(guest: &Guest) -> Vec<String> {
    let nodes = guest
        .monitor()
        .unwrap()
        .execute("query-named-block-nodes", Value::Null)
        .await;
    let nodes = nodes.unwrap();
    let names = nodes
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|node| node["node-name"].as_str());
    names
        .filter(|name| name.starts_with("tresor-"))
        .map(str::to_owned)
        .collect()
}

/// The bitmaps of ours on all nodes.
pub(crate) async fn bitmaps(guest: &Guest) -> Vec<Value> {
    let nodes = guest
        .monitor()
        .unwrap()
        .execute("query-named-block-nodes", Value::Null)
        .await;
    let nodes = nodes.unwrap();
    let mut found = Vec::new();
    for node in nodes.as_array().unwrap() {
        for bitmap in node["dirty-bitmaps"].as_array().into_iter().flatten() {
            if bitmap["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("tresor-"))
            {
                found.push(bitmap.clone());
            }
        }
    }
    found
}

/// Packs of a vault in a directory, largest first: those of the disks, then those of manifests.
pub(crate) fn packs(vault: &Path) -> Vec<PathBuf> {
    let mut found: Vec<(u64, PathBuf)> = fs::read_dir(vault.join("packs"))
        .unwrap()
        .flat_map(|dir| fs::read_dir(dir.unwrap().path()).unwrap())
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.metadata().unwrap().len(), entry.path()))
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// How each disk of a point was read.
pub(crate) fn modes(point: &Value) -> Vec<&str> {
    let disks = point["disks"].as_array().unwrap().iter();
    disks
        .map(|disk| disk["read_mode"]["mode"].as_str().unwrap())
        .collect()
}
