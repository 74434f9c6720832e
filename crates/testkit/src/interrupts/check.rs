//! What must hold after an interruption.

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tresor_model::{JobId, SnapshotTag};

use super::{Lab, host, writers};
use crate::{Guest, Monitor, compare_images};

/// How long a guard may go on after the guest is thawed: it asks for the state once more.
const GUARD_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Where sockets of running snapshots lie.
const RUNTIME_DIR: &str = "/run/tresor";

impl Lab {
    /// Does the next backup while the guest is paused, and compares it with the image files as
    /// they were then. Gives how each disk was read.
    pub(super) async fn back_up_and_compare(&mut self) -> Result<Vec<String>> {
        self.guest.monitor()?.execute("stop", json!({})).await?;
        let saved = self.back_up_and_copy().await;
        self.guest.monitor()?.execute("cont", json!({})).await?;
        let (point, copies) = saved?;
        let id = point["point"]
            .as_str()
            .context("a backup without a point")?;
        let to = self.path("restored");
        let words = ["restore", id, "--to", shown(&to)?, "--format", "raw"];
        self.program.run(&words).await?.ok()?;
        for copy in &copies {
            let image = to.join(format!("dev-{}.raw", copy.name));
            let difference = compare_images(&copy.path, &image).await?;
            if let Some(difference) = difference {
                bail!(
                    "point {id}, disk {}: differs at byte {}",
                    copy.name,
                    difference.offset
                );
            }
            std::fs::remove_file(&copy.path)?;
        }
        std::fs::remove_dir_all(&to)?;
        point["disks"]
            .as_array()
            .into_iter()
            .flatten()
            .map(how_it_was_read)
            .collect()
    }

    async fn back_up_and_copy(&mut self) -> Result<(Value, Vec<crate::GuestDisk>)> {
        let point = self.back_up().await.context("the next backup")?;
        let dir = self.path("copies");
        std::fs::create_dir_all(&dir)?;
        let copies = self.guest.copy_disks(&dir).await?;
        Ok((point, copies))
    }

    /// Everything at once: the guest, what could be left of ours, the vault, the list of points.
    pub(super) async fn check(&mut self) -> Result<()> {
        writers::are_well(&self.guest).await?;
        nothing_in_qemu(&self.guest).await?;
        let last = self.points.last().context("a lab without a point")?;
        bitmaps_are_of(&self.guest, last).await?;
        self.nothing_on_the_host().await?;
        self.no_job_is_open().await?;
        self.all_points_are_there().await?;
        self.program.run(&["verify"]).await?.ok()?;
        Ok(())
    }

    async fn nothing_on_the_host(&self) -> Result<()> {
        let vm = self.guest.uuid().to_string();
        let files = host::entries(&self.program.state().join("fleecing"), "")?;
        ensure!(files.is_empty(), "fleecing files are left: {files:?}");
        let sockets = host::entries(Path::new(RUNTIME_DIR), &vm)?;
        let sockets: Vec<_> = sockets
            .iter()
            .filter(|name| name.starts_with("tresor-"))
            .collect();
        ensure!(sockets.is_empty(), "sockets are left: {sockets:?}");
        let agent = self.guest.agent_socket();
        let gone = async {
            while !host::thaw_guards(&agent)?.is_empty() {
                tokio::time::sleep(POLL).await;
            }
            Ok(())
        };
        let gone = tokio::time::timeout(GUARD_LIMIT, gone).await;
        gone.context("a thaw guard does not end")?
    }

    async fn no_job_is_open(&self) -> Result<()> {
        let jobs = self.program.run(&["jobs", "list"]).await?.all()?;
        for job in jobs {
            let state = job["state"].as_str().unwrap_or_default();
            let open = matches!(state, "queued" | "in_progress" | "cancelling");
            ensure!(!open, "a job is not over: {job}");
        }
        Ok(())
    }

    /// None is lost, and the one made last is listed last, whatever the clock showed.
    async fn all_points_are_there(&self) -> Result<()> {
        let listed = self.program.run(&["points", "list"]).await?.all()?;
        let listed: Vec<_> = listed
            .iter()
            .filter_map(|point| point["point"].as_str().or(point["id"].as_str()))
            .collect();
        let there: BTreeSet<_> = listed.iter().copied().collect();
        for point in &self.points {
            ensure!(
                there.contains(point.as_str()),
                "point {point} is lost: {listed:?}"
            );
        }
        let last = self.points.last().map(String::as_str);
        ensure!(
            listed.last().copied() == last,
            "{last:?} is not the last of {listed:?}"
        );
        Ok(())
    }
}

fn shown(path: &Path) -> Result<&str> {
    path.to_str().context("a path is not UTF-8")
}

/// `incremental`, or why it was not.
fn how_it_was_read(disk: &Value) -> Result<String> {
    let mode = &disk["read_mode"];
    match (mode["mode"].as_str(), mode["reason"].as_str()) {
        (Some("incremental"), _) => Ok("incremental".to_owned()),
        (Some("full"), Some(reason)) if !reason.is_empty() => Ok(reason.to_owned()),
        _ => bail!("a disk was read in full without a reason: {disk}"),
    }
}

/// The guest runs, and QEMU has nothing of ours but bitmaps.
pub(super) async fn nothing_in_qemu(guest: &Guest) -> Result<()> {
    let monitor = guest.monitor()?;
    let status = monitor.status().await?;
    ensure!(status == "running", "the guest is {status}");
    let mut left = Vec::new();
    for (command, arguments, key) in [
        (
            "query-named-block-nodes",
            json!({ "flat": true }),
            "node-name",
        ),
        ("query-block-exports", json!({}), "id"),
        ("query-jobs", json!({}), "id"),
        ("qom-list", json!({ "path": "/objects" }), "name"),
    ] {
        left.extend(names(monitor, command, arguments, key).await?);
    }
    left.retain(|name| SnapshotTag::of_name(name).is_some());
    ensure!(left.is_empty(), "left in QEMU: {}", left.join(", "));
    Ok(())
}

async fn names(
    monitor: &Monitor,
    command: &str,
    arguments: Value,
    key: &str,
) -> Result<Vec<String>> {
    let listed = monitor.execute(command, arguments).await?;
    let items = listed.as_array().into_iter().flatten();
    Ok(items
        .filter_map(|item| item[key].as_str().map(str::to_owned))
        .collect())
}

/// Each disk has one bitmap of ours: the last point's, recording and usable.
async fn bitmaps_are_of(guest: &Guest, point: &str) -> Result<()> {
    let job: JobId = point.parse().ok().context("a point's id is no id")?;
    let tag = SnapshotTag::of_job(job);
    let nodes = guest
        .monitor()?
        .execute("query-named-block-nodes", json!({}))
        .await?;
    let nodes = nodes.as_array().into_iter().flatten();
    let all = nodes.flat_map(|node| node["dirty-bitmaps"].as_array().into_iter().flatten());
    let ours: Vec<&Value> = all
        .filter(|bitmap| {
            bitmap["name"]
                .as_str()
                .and_then(SnapshotTag::of_name)
                .is_some()
        })
        .collect();
    ensure!(
        ours.len() == guest.disks().len(),
        "not one bitmap a disk: {ours:?}"
    );
    for bitmap in ours {
        let owner = bitmap["name"].as_str().and_then(SnapshotTag::of_name);
        let sound = bitmap["recording"] == true && bitmap["inconsistent"] != true;
        ensure!(
            owner.as_ref() == Some(&tag) && sound,
            "not the last point's: {bitmap}"
        );
    }
    Ok(())
}
