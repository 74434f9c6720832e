//! Writers inside the guest: how long they ever had to wait, and whether one saw an error.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::Guest;

/// Mount and status file of each writer.
const MOUNTS: [(&str, &str); 2] = [
    ("", "/run/tresor/lat-root.json"),
    ("/data", "/run/tresor/lat-data.json"),
];

/// Starts a writer on each mount; they go on until the guest ends.
pub(super) async fn start(guest: &Guest) -> Result<()> {
    for (dir, status) in MOUNTS {
        let command = format!("tresor-workload latency --dir {dir}/latency --status {status}");
        guest.start_background(&command).await?;
    }
    longest_gap(guest).await.map(drop)
}

/// The longest time between two writes since the last call; counts anew from here. Waits for a
/// write on each mount, so that one that hangs is not overlooked.
pub(super) async fn longest_gap(guest: &Guest) -> Result<Duration> {
    let files = MOUNTS.map(|(_, status)| status).join(" ");
    let command = format!(
        "for file in {files}; do \
         until mv $file $file.taken 2>/dev/null; do sleep 0.01; done; cat $file.taken; done"
    );
    let printed = guest.exec(&command).await?.ok()?;
    let mut longest = 0;
    let mut lines = 0;
    for line in printed.lines() {
        let seen: Value =
            serde_json::from_str(line).with_context(|| format!("a writer's status is {line:?}"))?;
        longest = longest.max(seen["gap_us"].as_u64().unwrap_or(0));
        lines += 1;
    }
    if lines != MOUNTS.len() {
        bail!("the writers' status is {printed:?}");
    }
    Ok(Duration::from_micros(longest))
}

/// Writes go through on every mount, and no writer ever saw an error.
pub(super) async fn are_well(guest: &Guest) -> Result<()> {
    let check = "for dir in / /data; do echo alive > $dir/alive || exit 1; done; sync; \
                 test ! -e /run/tresor/io-error || { cat /run/tresor/io-error; exit 1; }";
    let checked = guest.exec(check).await?;
    checked.ok().context("the guest is harmed").map(drop)
}
