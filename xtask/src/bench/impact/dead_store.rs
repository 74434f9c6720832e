//! A fleecing store that stops answering in the middle of a backup.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tresor_testkit::{Guest, LONG, run};

use super::{place::Place, report::Row, writer::Writer};
use crate::soak::lab::check_unharmed;

/// How long the store is dead: longer than a copy may hold a guest's write (30 s).
const DEAD: Duration = Duration::from_secs(50);

/// How long after the snapshot was taken the store dies.
const IN_THE_MIDDLE: Duration = Duration::from_secs(3);

/// A file system in a file, mounted; unmounted and thawed with the value.
struct Store {
    at: PathBuf,
    frozen: bool,
}

impl Store {
    async fn mount(dir: &Path) -> Result<Self> {
        let (image, at) = (dir.join("store.img"), dir.join("store"));
        fs::create_dir(&at)?;
        fs::File::create(&image)?.set_len(1 << 30)?;
        let (image, mount) = (image.display().to_string(), at.display().to_string());
        run("mkfs.ext4", &["-q", "-F", &image], LONG).await?;
        run("mount", &["-o", "loop", &image, &mount], LONG).await?;
        Ok(Self { at, frozen: false })
    }

    async fn freeze(&mut self, on: bool) -> Result<()> {
        let flag = if on { "-f" } else { "-u" };
        run("fsfreeze", &[flag, &self.at.display().to_string()], LONG).await?;
        self.frozen = on;
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Best effort: what stays mounted is a file in a temporary directory.
        if self.frozen {
            let thaw = std::process::Command::new("fsfreeze")
                .arg("-u")
                .arg(&self.at)
                .status();
            drop(thaw);
        }
        drop(
            std::process::Command::new("umount")
                .arg("-l")
                .arg(&self.at)
                .status(),
        );
    }
}

/// A slow full backup whose fleecing store is frozen under it. The snapshot must be lost and
/// nothing else: no error in the guest, which runs on.
pub(super) async fn dead_store(guest: &Guest, place: &Place, writer: &Writer<'_>) -> Result<Row> {
    let mut store = Store::mount(&place.path("")).await?;
    let at = store.at.display().to_string();
    // Slow enough that there is more to read when the copy is given up.
    let limit = ["--fleecing-dir", &at, "--read-limit", "2"];
    let options = [&limit[..], &["--progress", "lines"]].concat();
    let begun = Instant::now();
    writer.begin().await?;
    let mut command = tokio::process::Command::from(place.command(&options));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stderr = child.stderr.take().context("a child without stderr")?;
    let mut lines = BufReader::new(stderr).lines();
    while let Some(line) = lines.next_line().await? {
        if line.starts_with("Take snapshot: done") {
            break;
        }
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    tokio::time::sleep(IN_THE_MIDDLE).await;
    store.freeze(true).await?;
    tokio::time::sleep(DEAD).await;
    let alive = guest.exec_within("true", LONG).await.is_ok();
    store.freeze(false).await?;
    let output = tokio::time::timeout(LONG * 2, child.wait_with_output()).await??;
    let seen = writer.end().await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let problem: Value = serde_json::from_str(said.lines().last().unwrap_or_default())
        .with_context(|| format!("the backup printed {said:?}"))?;
    ensure!(
        problem["code"] == "SnapshotLost",
        "the backup ended with {problem}"
    );
    ensure!(
        alive,
        "the guest stood still while its fleecing store was dead"
    );
    check_unharmed(guest).await?;
    let case = "full, fleecing store dead";
    let mut row = Row::new(case, "tresor", begun.elapsed(), seen);
    row.note = format!(
        "store frozen for {} s: the snapshot is lost, the guest saw no error",
        DEAD.as_secs()
    );
    Ok(row)
}
