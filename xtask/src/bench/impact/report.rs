//! What the bench says: a table, JSON, and a page to commit.

use std::{fmt::Write as _, fs, io::Write as _, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tresor_testkit::Guest;

use super::{super::measure::Phase, writer::Latency};
use crate::{term::say, workspace};

/// One case; the members of the other benches' rows, and what the writes took.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    pub(super) case: String,
    pub(super) tool: String,
    pub(super) wall_s: f64,
    pub(super) user_s: f64,
    pub(super) sys_s: f64,
    pub(super) peak_mib: f64,
    pub(super) read_mib: f64,
    pub(super) stored_mib: f64,
    pub(super) note: String,
    pub(super) writes: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

impl Row {
    pub(super) fn new(case: &str, tool: &str, wall: Duration, seen: Latency) -> Self {
        let ms = |micros: u64| micros as f64 / 1000.0;
        Self {
            case: case.to_owned(),
            tool: tool.to_owned(),
            wall_s: wall.as_secs_f64(),
            user_s: 0.0,
            sys_s: 0.0,
            peak_mib: 0.0,
            read_mib: 0.0,
            stored_mib: 0.0,
            note: String::new(),
            writes: seen.writes,
            p50_ms: ms(seen.p50),
            p99_ms: ms(seen.p99),
            max_ms: ms(seen.max),
        }
    }

    /// Adds what the program took.
    pub(super) fn with_phase(mut self, phase: &Phase) -> Self {
        self.user_s = phase.user_s;
        self.sys_s = phase.sys_s;
        self.peak_mib = super::super::report::mib(phase.peak);
        self
    }
}

/// Writes the rows as a list of objects.
pub(super) fn write_json(rows: &[Row], path: &Path) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(rows)?;
    text.push(b'\n');
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Prints the table, and leaves it with its circumstances in docs/reports/.
pub(super) fn publish(guest: &Guest, rows: &[Row], load: &str) -> Result<()> {
    let table = table(rows)?;
    writeln!(std::io::stdout(), "{table}")?;
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let page = format!(
        "# Guest impact\n\n`cargo xtask bench guest-impact`, {date}: 4 KiB synchronous writes at \
         random places at a fixed rate in a real guest, each case from the start of the backup to \
         its end.\n\n- {} CPUs, QEMU {}, {:?}; load averages at the start: {load}\n\n{table}\n",
        std::thread::available_parallelism().map_or(0, usize::from),
        guest.qemu().version,
        guest.accelerator(),
    );
    let path = workspace::root()?.join(format!("docs/reports/{date}-bench-guest-impact.md"));
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!("report: {}", path.display()));
    Ok(())
}

fn table(rows: &[Row]) -> Result<String> {
    let mut text = String::from(
        "| case | tool | wall s | writes/s | p50 ms | p99 ms | max ms | user+sys s | stored MiB | note |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n",
    );
    for row in rows {
        writeln!(
            text,
            "| {} | {} | {:.1} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} | {} |",
            row.case,
            row.tool,
            row.wall_s,
            row.writes as f64 / row.wall_s.max(0.001),
            row.p50_ms,
            row.p99_ms,
            row.max_ms,
            row.user_s + row.sys_s,
            row.stored_mib,
            row.note,
        )?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_line_and_an_object() {
        let seen = Latency {
            writes: 300,
            p50: 310,
            p99: 2900,
            max: 40_000,
        };
        let row = Row::new("full", "tresor", Duration::from_secs(2), seen);
        let table = table(std::slice::from_ref(&row)).unwrap();
        assert!(
            table.contains("| full | tresor | 2.0 | 150 | 0.3 | 2.9 | 40.0 |"),
            "{table}"
        );
        let json = serde_json::to_value(row).unwrap();
        assert_eq!(
            (&json["p99_ms"], &json["case"]),
            (&2.9.into(), &"full".into())
        );
    }
}
