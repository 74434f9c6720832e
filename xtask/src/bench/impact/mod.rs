//! `cargo xtask bench guest-impact`: what the writes of a real guest take while it is backed up.
//!
//! A writer inside writes 4 KiB at a time, synchronously, at random places and at a fixed rate.
//! Each case is one backup, from its start to its end; beside them, the guest alone, and QEMU's own
//! backup job to a target that is as slow as the slow vault.

mod cases;
mod dead_store;
mod place;
mod push;
mod report;
mod writer;

use anyhow::Result;
use tresor_testkit::Guest;

use self::{
    cases::{alone, backup, slow_backup},
    dead_store::dead_store,
    place::Place,
    push::push_job,
    report::{publish, write_json},
    writer::Writer,
};
use super::Options;
use crate::soak::lab::check_unharmed;

/// What the slow vault takes, MiB/s.
const SLOW: u32 = 4;

/// Runs all cases, prints the table and leaves the report.
pub(super) async fn run(options: &Options) -> Result<()> {
    crate::setup::run(!options.no_install).await?;
    let guest = Guest::builder().data_disk().iothread(true).start().await?;
    // Of what a backup reads, and what the writer changes meanwhile.
    let fill = "tresor-workload churn --dir /data/full --mib 160 --file-mib 160 --block-kib 1024 \
                && sync";
    guest
        .exec(&format!("{fill} --seed {}", options.seed))
        .await?;
    let writer = Writer::start(&guest).await?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load: Vec<&str> = load.split_whitespace().take(3).collect();

    let mut rows = vec![alone(&writer).await?];
    let place = Place::new(&guest).await?;
    rows.push(backup(&place, &writer, "full").await?);
    change(&guest, options.seed).await?;
    rows.push(backup(&place, &writer, "incremental").await?);
    let slow = Place::new(&guest).await?;
    rows.push(slow_backup(&slow, &writer, SLOW).await?);
    check_unharmed(&guest).await?;
    let dead = Place::new(&guest).await?;
    rows.push(dead_store(&guest, &dead, &writer).await?);
    rows.push(push_job(&guest, &writer, SLOW).await?);
    writer.stop().await?;
    check_unharmed(&guest).await?;

    if let Some(path) = &options.json {
        write_json(&rows, path)?;
    }
    publish(&guest, &rows, &load.join(" "))
}

/// Changes 32 MiB, for an incremental.
async fn change(guest: &Guest, seed: u64) -> Result<()> {
    let seed = seed.wrapping_add(1);
    let change = format!(
        "tresor-workload churn --dir /data/full --mib 32 --file-mib 160 --block-kib 1024 \
         --seed {seed} && sync"
    );
    guest.exec(&change).await?.ok().map(drop)
}
