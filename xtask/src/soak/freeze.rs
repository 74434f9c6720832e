//! How long a backup freezes the guest, and what it costs the guest's writes.
//!
//! Two series take turns on one guest. In the idle one nothing runs inside; in the other one
//! writes synchronously to each mount. Before each backup a seeded amount of data changes, so that
//! it has an incremental to transfer. After each the guest must be unharmed; when it is not, or
//! cannot be asked, the soak stops: what a harmed guest does says nothing.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tresor_testkit::{Ended, Guest};

use super::{
    Options,
    figures::Samples,
    lab::{Lab, check_unharmed},
    report::{self, Machine, publish},
    writers::{Latencies, Phase, Writers},
};
use crate::term::say;

/// How long writes are watched before a backup and after it.
const CALM: Duration = Duration::from_secs(1);

/// What the runs came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Freeze command sent to thaw answered, nothing else running.
    pub(super) idle: Samples,
    /// The same, with writers inside.
    pub(super) writing: Samples,
    /// The writers' own figures, by mount.
    pub(super) inside: Latencies,
    /// QEMU's figures of the same writes, by device.
    pub(super) outside: Latencies,
    /// Backups that failed, and harm to the guest.
    pub(super) failures: Vec<String>,
}

/// Runs the soak, prints and leaves its report.
pub(super) async fn run(options: &Options) -> Result<()> {
    crate::setup::run(false).await?;
    let guest = Guest::builder().data_disk().iothread(true).start().await?;
    let lab = Lab::new(&guest).await?;
    let machine = Machine::observe(&guest);
    let first = lab.backup()?.end().await?;
    first.ok().context("the first backup")?;

    let mut outcome = Outcome::default();
    for run in 0..options.runs {
        if let Err(error) = both(&guest, &lab, &mut outcome, options.seed, run).await {
            let text = format!("run {run}: stopped: {error:#}");
            say(&text);
            outcome.failures.push(text);
            break;
        }
        if run % 10 == 9 {
            say(&format!(
                "soak freeze: {} of {} runs",
                run + 1,
                options.runs
            ));
        }
    }
    let failures = outcome.failures.len();
    publish(options, &report::text(options, &machine, &outcome))?;
    if failures > 0 {
        bail!("{failures} failures: see the report");
    }
    Ok(())
}

/// One backup of each series. An error means that the soak cannot go on.
async fn both(guest: &Guest, lab: &Lab, outcome: &mut Outcome, seed: u64, run: u64) -> Result<()> {
    churn(guest, mix(seed, run * 2)).await?;
    match lab
        .backup()?
        .end()
        .await
        .and_then(Ended::ok)
        .and_then(|point| frozen(&point))
    {
        Ok(micros) => outcome.idle.add(micros),
        Err(error) => failed(outcome, run, "idle", &error),
    }
    check_unharmed(guest).await?;

    churn(guest, mix(seed, run * 2 + 1)).await?;
    let writers = Writers::start(guest).await?;
    match with_writers(lab, &writers, outcome).await {
        Ok(micros) => outcome.writing.add(micros),
        Err(error) => failed(outcome, run, "writing", &error),
    }
    writers.stop().await?;
    check_unharmed(guest).await
}

async fn with_writers(lab: &Lab, writers: &Writers<'_>, outcome: &mut Outcome) -> Result<u64> {
    let (inside, outside) = (&mut outcome.inside, &mut outcome.outside);
    writers.reset().await?;
    tokio::time::sleep(CALM).await;
    writers.note(Phase::Before, inside, outside).await?;
    let mut backup = lab.backup()?;
    backup.until_done("Take snapshot").await?;
    writers.note(Phase::Snapshot, inside, outside).await?;
    let point = backup.end().await?.ok()?;
    writers.note(Phase::Transfer, inside, outside).await?;
    tokio::time::sleep(CALM).await;
    writers.note(Phase::After, inside, outside).await?;
    frozen(&point)
}

fn failed(outcome: &mut Outcome, run: u64, series: &str, error: &anyhow::Error) {
    let text = format!("run {run}, {series}: {error:#}");
    say(&text);
    outcome.failures.push(text);
}

/// How long the guest was frozen; a backup that did not freeze it is a failure here.
fn frozen(point: &Value) -> Result<u64> {
    let consistency = &point["consistency"];
    if consistency["achieved"] != "application" {
        bail!("the point is not application-consistent: {consistency}");
    }
    let micros = consistency["frozen_us"].as_u64();
    micros.with_context(|| format!("the point does not say how long it froze: {consistency}"))
}

/// Changes 1 to 8 MiB of the data disk, for good.
async fn churn(guest: &Guest, seed: u64) -> Result<()> {
    let mib = 1 + seed % 8;
    let command = format!("tresor-workload churn --dir /data/churn --mib {mib} --seed {seed}");
    guest.exec(&command).await?.ok().map(drop)
}

/// A number for a run (the finaliser of `SplitMix64`).
fn mix(seed: u64, run: u64) -> u64 {
    let mut x = seed.wrapping_add(run.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
