//! The program under test with a state and a vault of its own, and what must hold afterwards.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};
use tresor_testkit::Guest;

use crate::{
    process::{capture, tail, tool},
    workspace,
};

/// Nothing that is run here takes this long.
const LIMIT: Duration = Duration::from_secs(300);

/// The name under which the guest is registered.
const VM: &str = "soak";

/// A state directory and a vault. Gone with the value.
pub(super) struct Lab {
    dir: TempDir,
    program: PathBuf,
}

impl Lab {
    /// Builds the program, makes a vault, registers the guest with its agent.
    pub(super) async fn new(guest: &Guest) -> Result<Self> {
        let program = tokio::task::spawn_blocking(build).await??;
        let lab = Self {
            dir: tempfile::tempdir()?,
            program,
        };
        let vault = lab.dir.path().join("vault").display().to_string();
        lab.start(&["vault", "create", &vault])?.finish().await?;
        let qmp = guest.qmp_socket().display().to_string();
        let agent = guest.agent_socket().display().to_string();
        let add = ["vm", "add", VM, "--qmp", &qmp, "--agent", &agent];
        lab.start(&add)?.finish().await?;
        Ok(lab)
    }

    /// Starts a backup of the guest.
    pub(super) fn backup(&self) -> Result<Running> {
        self.start(&["backup", VM, "--progress", "lines"])
    }

    fn start(&self, args: &[&str]) -> Result<Running> {
        let mut child = Command::new(&self.program)
            .args(["--output", "json", "--state-dir"])
            .arg(self.dir.path().join("state"))
            .args(args)
            .env_remove("TRESOR_KEY_FILE")
            .env_remove("TRESOR_VAULT")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let stderr = child.stderr.take().context("a child without stderr")?;
        Ok(Running {
            what: args.join(" "),
            child,
            lines: BufReader::new(stderr).lines(),
            said: String::new(),
        })
    }
}

/// The product's program, as the workspace builds it now.
pub(crate) fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let printed = capture(tool(cargo).current_dir(workspace::root()?).args([
        "build",
        "--quiet",
        "--package",
        "tresor",
        "--message-format",
        "json",
    ]))?;
    printed
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "tresor")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo built no program named tresor")
}

/// A run of the program that is under way.
pub(super) struct Running {
    what: String,
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    said: String,
}

impl Running {
    /// Waits until a sub-task is done, or the program has nothing more to say.
    pub(super) async fn until(&mut self, sub_task: &str) -> Result<()> {
        let done = format!("{sub_task}: done");
        self.listen(|line| line.starts_with(&done)).await
    }

    async fn listen(&mut self, enough: impl Fn(&str) -> bool) -> Result<()> {
        let listen = async {
            while let Some(line) = self.lines.next_line().await? {
                self.said.push_str(&line);
                self.said.push('\n');
                if enough(&line) {
                    break;
                }
            }
            Ok(())
        };
        tokio::time::timeout(LIMIT, listen)
            .await
            .with_context(|| format!("`tresor {}` hangs", self.what))?
    }

    /// The result of a run that must succeed.
    pub(super) async fn finish(mut self) -> Result<Value> {
        self.listen(|_| false).await?;
        let output = tokio::time::timeout(LIMIT, self.child.wait_with_output())
            .await
            .with_context(|| format!("`tresor {}` hangs", self.what))??;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let said = tail(&format!("{}{text}", self.said));
            bail!("`tresor {}`: {}\n{said}", self.what, output.status);
        }
        let last = text.lines().last().unwrap_or("null");
        serde_json::from_str(last)
            .with_context(|| format!("`tresor {}` printed {last:?}", self.what))
    }
}

/// The guest must be as if nothing had happened: it runs, is thawed, no writer saw an error, and
/// nothing of ours but bitmaps is left in QEMU.
pub(crate) async fn check_unharmed(guest: &Guest) -> Result<()> {
    let monitor = guest.monitor()?;
    let status = monitor.status().await?;
    if status != "running" {
        bail!("the guest is {status}");
    }
    let write = "echo alive >/alive && echo alive >/data/alive && sync && \
                 test ! -e /run/tresor/io-error || { cat /run/tresor/io-error; false; }";
    let written = guest.exec(write).await?;
    written.ok().context("the guest is harmed")?;
    let nodes = monitor
        .execute("query-named-block-nodes", json!({}))
        .await?;
    let left: Vec<&str> = nodes
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|node| node["node-name"].as_str())
        .filter(|name| name.starts_with("tresor-"))
        .collect();
    if !left.is_empty() {
        bail!("left in QEMU: {}", left.join(", "));
    }
    Ok(())
}
