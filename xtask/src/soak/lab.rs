//! The program under test with a state and a vault of its own, and what must hold afterwards.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;
use tresor_testkit::{Guest, Program, Running};

use crate::{
    process::{capture, tool},
    workspace,
};

/// The name under which the guest is registered.
const VM: &str = "soak";

/// A state directory and a vault. Gone with the value.
pub(super) struct Lab {
    program: Program,
    _dir: TempDir,
}

impl Lab {
    /// Builds the program, makes a vault, registers the guest with its agent.
    pub(super) async fn new(guest: &Guest) -> Result<Self> {
        let path = build(&[]).await?;
        let dir = tempfile::tempdir()?;
        let program = Program::new(path, dir.path().join("state"));
        let vault = dir.path().join("vault").display().to_string();
        let qmp = guest.qmp_socket().display().to_string();
        let agent = guest.agent_socket().display().to_string();
        let add = ["vm", "add", VM, "--qmp", &qmp, "--agent", &agent];
        for args in [&["vault", "create", &vault][..], &add] {
            program.run(args).await?.ok()?;
        }
        Ok(Self { program, _dir: dir })
    }

    /// Starts a backup of the guest.
    pub(super) fn backup(&self) -> Result<Running> {
        self.program.start(&["backup", VM, "--progress", "lines"])
    }
}

/// The product's program, as the workspace builds it now, with these features: a copy, which
/// another build does not replace while the soak runs.
pub(crate) async fn build(features: &[&str]) -> Result<PathBuf> {
    let features = features.join(",");
    tokio::task::spawn_blocking(move || {
        let built = build_now(&features)?;
        let dir = workspace::root()?.join("target/soak");
        fs::create_dir_all(&dir)?;
        let copy = dir.join(format!("tresor-{}", std::process::id()));
        fs::copy(&built, &copy)?;
        Ok(copy)
    })
    .await?
}

fn build_now(features: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let printed = capture(tool(cargo).current_dir(workspace::root()?).args([
        "build",
        "--quiet",
        "--package",
        "tresor",
        "--features",
        features,
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
