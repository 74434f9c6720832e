//! The guest alone, and with a backup that goes through.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{place::Place, report::Row, writer::Writer};

/// How long the guest is watched alone.
const ALONE: Duration = Duration::from_secs(15);

/// Nothing but the writer.
pub(super) async fn alone(writer: &Writer<'_>) -> Result<Row> {
    let begun = Instant::now();
    writer.begin().await?;
    tokio::time::sleep(ALONE).await;
    let seen = writer.end().await?;
    Ok(Row::new("no backup", "none", begun.elapsed(), seen))
}

/// A backup as it is by default.
pub(super) async fn backup(place: &Place, writer: &Writer<'_>, case: &str) -> Result<Row> {
    measured(place, writer, case, &[]).await
}

/// A full backup into a vault that takes so many MiB/s.
pub(super) async fn slow_backup(place: &Place, writer: &Writer<'_>, mib: u32) -> Result<Row> {
    let (case, limit) = (format!("full, vault {mib} MiB/s"), mib.to_string());
    measured(place, writer, &case, &["--upload-limit", &limit]).await
}

async fn measured(place: &Place, writer: &Writer<'_>, case: &str, options: &[&str]) -> Result<Row> {
    writer.begin().await?;
    let phase = place.backup(options).await?;
    let seen = writer.end().await?;
    let result: Value = serde_json::from_str(phase.output.lines().last().unwrap_or_default())
        .with_context(|| format!("the backup printed {:?}", phase.output))?;
    let wall = Duration::from_secs_f64(phase.wall_s);
    let mut row = Row::new(case, "tresor", wall, seen).with_phase(&phase);
    row.read_mib = mib(&result["total"]["read"]);
    row.stored_mib = mib(&result["total"]["stored"]);
    row.note = format!(
        "frozen {} ms, reading held back {} ms",
        result["consistency"]["frozen_us"].as_u64().unwrap_or(0) / 1000,
        result["guest_writes"]["held_back_ms"],
    );
    Ok(row)
}

fn mib(bytes: &Value) -> f64 {
    super::super::report::mib(bytes.as_u64().unwrap_or(0))
}
