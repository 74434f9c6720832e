//! Writers inside the guest, one for each mount, and how long their writes take: as they see it,
//! and as QEMU sees it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tresor_testkit::Guest;

use super::figures::{Histogram, Samples};

/// Mount and status file of each writer.
const MOUNTS: [(&str, &str); 2] = [
    ("/", "/run/tresor/lat-root.json"),
    ("/data", "/run/tresor/lat-data.json"),
];

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// No backup yet.
    Before,
    /// From the start of `tresor backup` until the guest is thawed and the snapshot is there.
    Snapshot,
    /// While the snapshot is read, and until everything of ours is gone from QEMU.
    Transfer,
    /// The backup has ended.
    After,
}

/// What writes took in a phase, of all runs.
#[derive(Debug, Default)]
pub(super) struct Latency {
    pub(super) times: Histogram,
    /// The longest write of each run.
    pub(super) worst: Samples,
    /// The longest time between two ends of writes, of each run.
    pub(super) gaps: Samples,
}

/// By phase, and by mount (in the guest) or device (in QEMU).
pub(super) type Latencies = BTreeMap<(Phase, String), Latency>;

/// Writers that run.
pub(super) struct Writers<'a> {
    guest: &'a Guest,
    pids: Vec<u32>,
}

impl<'a> Writers<'a> {
    /// Starts them; their figures count from the first [`Writers::reset`].
    pub(super) async fn start(guest: &'a Guest) -> Result<Self> {
        let mut pids = Vec::new();
        for (mount, status) in MOUNTS {
            let dir = mount.trim_end_matches('/');
            let command = format!("tresor-workload latency --dir {dir}/latency --status {status}");
            pids.push(guest.start_background(&command).await?);
        }
        Ok(Self { guest, pids })
    }

    /// Ends them.
    pub(super) async fn stop(self) -> Result<()> {
        let pids: Vec<String> = self.pids.iter().map(u32::to_string).collect();
        let pids = pids.join(" ");
        let command = format!(
            "kill {pids}; for pid in {pids}; do \
             while [ -d /proc/$pid ]; do sleep 0.01; done; done"
        );
        self.guest.exec(&command).await?.ok().map(drop)
    }

    /// Forgets what was seen so far.
    pub(super) async fn reset(&self) -> Result<()> {
        self.take().await?;
        reset_devices(self.guest).await
    }

    /// Adds what was seen since the last call to a phase, and forgets it.
    pub(super) async fn note(
        &self,
        phase: Phase,
        inside: &mut Latencies,
        outside: &mut Latencies,
    ) -> Result<()> {
        for (device, bounds, counts) in devices(self.guest).await? {
            let entry = outside.entry((phase, device)).or_default();
            entry.times.add(&bounds, &counts);
        }
        reset_devices(self.guest).await?;
        let bounds: Vec<u64> = (0..32).map(|power| 1 << power).collect();
        for (mount, seen) in self.take().await? {
            let entry = inside.entry((phase, mount)).or_default();
            entry.times.add(&bounds, &numbers(&seen["powers"]));
            entry.worst.add(seen["worst_us"].as_u64().unwrap_or(0));
            entry.gaps.add(seen["gap_us"].as_u64().unwrap_or(0));
        }
        Ok(())
    }

    /// Takes each status file away, which makes its writer start anew. A writer leaves a new one
    /// with its next write: waits for that, so that a frozen one is not overlooked.
    async fn take(&self) -> Result<Vec<(String, Value)>> {
        let files = MOUNTS.map(|(_, status)| status).join(" ");
        let command = format!(
            "for file in {files}; do \
             until mv $file $file.taken 2>/dev/null; do sleep 0.01; done; \
             cat $file.taken; done"
        );
        let printed = self.guest.exec(&command).await?.ok()?;
        let lines: Vec<&str> = printed.lines().collect();
        if lines.len() != MOUNTS.len() {
            bail!("the writers' status is {printed:?}");
        }
        let seen = MOUNTS.iter().zip(lines).map(|((mount, _), line)| {
            let seen = serde_json::from_str(line)
                .with_context(|| format!("a writer's status is {line:?}"))?;
            Ok(((*mount).to_owned(), seen))
        });
        seen.collect()
    }
}

/// Upper bounds in microseconds, each a quarter above the last: 50 µs to some seconds.
fn bounds() -> Vec<u64> {
    std::iter::successors(Some(50_u64), |bound| Some(bound + bound / 4))
        .take_while(|bound| *bound < 5_000_000)
        .collect()
}

async fn block_stats(guest: &Guest) -> Result<Vec<(String, Value)>> {
    let stats = guest
        .monitor()?
        .execute("query-blockstats", json!({}))
        .await?;
    let devices = stats.as_array().into_iter().flatten();
    Ok(devices
        .filter_map(|device| Some((device["qdev"].as_str()?.to_owned(), device["stats"].clone())))
        .collect())
}

/// Starts new histograms of write times.
async fn reset_devices(guest: &Guest) -> Result<()> {
    let nanos: Vec<u64> = bounds().iter().map(|micros| micros * 1000).collect();
    for (device, _) in block_stats(guest).await? {
        let set = json!({ "id": device, "boundaries-write": nanos });
        guest
            .monitor()?
            .execute("block-latency-histogram-set", set)
            .await?;
    }
    Ok(())
}

/// The write times of each device: name, upper bounds in microseconds, counts.
async fn devices(guest: &Guest) -> Result<Vec<(String, Vec<u64>, Vec<u64>)>> {
    let mut found = Vec::new();
    for (device, stats) in block_stats(guest).await? {
        let histogram = &stats["wr_latency_histogram"];
        let nanos = numbers(&histogram["boundaries"]);
        let bounds = nanos.iter().map(|nanos| nanos / 1000).collect();
        let path = device.trim_end_matches("/virtio-backend");
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        found.push((name, bounds, numbers(&histogram["bins"])));
    }
    Ok(found)
}

fn numbers(list: &Value) -> Vec<u64> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(Value::as_u64).collect()
}
