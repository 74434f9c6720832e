//! What one would use without a backup program: QEMU's own job, which pushes the disk to a target.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use tresor_testkit::Guest;

use super::{report::Row, writer::Writer};

/// How long the job is watched; it is cancelled then.
const WATCHED: Duration = Duration::from_secs(20);

/// `blockdev-backup` of the data disk to a file that takes so many MiB/s. The guest's writes pass
/// through the job, which copies to the target first: a slow target is felt.
pub(super) async fn push_job(guest: &Guest, writer: &Writer<'_>, mib: u32) -> Result<Row> {
    let monitor = guest.monitor()?;
    let size = std::fs::metadata(&guest.disks()[1].path)?.len();
    let target = guest.dir().join("push.qcow2");
    let file = std::fs::File::create(&target)?;
    file.set_len(size)?;
    let limits = json!({"bps-write": u64::from(mib) << 20, "bps-write-max-length": 1});
    let steps = [
        (
            "object-add",
            json!({"qom-type": "throttle-group", "id": "slow", "limits": limits}),
        ),
        (
            "blockdev-add",
            json!({
                "driver": "throttle", "node-name": "push-slow", "throttle-group": "slow",
                "file": {"driver": "file", "node-name": "push-file", "filename": target},
            }),
        ),
        (
            "blockdev-create",
            json!({
                "job-id": "make", "options": {
                    "driver": "qcow2", "file": "push-slow", "size": virtual_size(guest).await?,
                },
            }),
        ),
    ];
    for (command, arguments) in steps {
        monitor.execute(command, arguments).await?;
    }
    conclude(guest, "make").await?;
    monitor
        .execute("job-dismiss", json!({"id": "make"}))
        .await?;
    let add = json!({"driver": "qcow2", "node-name": "push", "file": "push-slow"});
    monitor.execute("blockdev-add", add).await?;

    let begun = Instant::now();
    writer.begin().await?;
    let job = json!({
        "job-id": "pushed", "device": "data", "target": "push", "sync": "full",
        "auto-dismiss": false,
    });
    monitor.execute("blockdev-backup", job).await?;
    tokio::time::sleep(WATCHED).await;
    let cancel = json!({"id": "pushed"});
    monitor.execute("job-cancel", cancel.clone()).await?;
    conclude(guest, "pushed").await?;
    monitor.execute("job-dismiss", cancel).await?;
    let seen = writer.end().await?;
    for node in ["push", "push-slow"] {
        monitor
            .execute("blockdev-del", json!({"node-name": node}))
            .await?;
    }
    monitor.execute("object-del", json!({"id": "slow"})).await?;
    let case = format!("full, target {mib} MiB/s");
    let mut row = Row::new(&case, "blockdev-backup", begun.elapsed(), seen);
    row.note = format!("cancelled after {} s", WATCHED.as_secs());
    Ok(row)
}

async fn virtual_size(guest: &Guest) -> Result<u64> {
    let nodes = guest
        .monitor()?
        .execute("query-named-block-nodes", Value::Null)
        .await?;
    let nodes = nodes.as_array().into_iter().flatten();
    let mut sizes = nodes
        .filter(|node| node["node-name"] == "data")
        .filter_map(|node| node["image"]["virtual-size"].as_u64());
    sizes
        .next()
        .ok_or_else(|| anyhow::anyhow!("the guest has no disk `data`"))
}

async fn conclude(guest: &Guest, job: &str) -> Result<()> {
    loop {
        let jobs = guest.monitor()?.execute("query-jobs", Value::Null).await?;
        let mut jobs = jobs.as_array().into_iter().flatten();
        match jobs.find(|found| found["id"] == job) {
            Some(found) if found["status"] != "concluded" => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            _ => return Ok(()),
        }
    }
}
