//! What a bench says: a table, and JSON.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use serde::{Deserialize, Serialize};

use super::peers::Case;

const MIB: f64 = 1_048_576.0;

/// One line of the result: one tool in one case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Row {
    /// What was done.
    pub case: Case,
    /// By what.
    pub tool: String,
    /// Seconds from start to end.
    pub wall_s: f64,
    /// Seconds of CPU time in the program.
    pub user_s: f64,
    /// Seconds of CPU time in the kernel.
    pub sys_s: f64,
    /// Highest resident memory.
    pub peak_mib: f64,
    /// Bytes that read calls gave, from whatever file.
    pub read_mib: f64,
    /// What the store grew by on disk.
    pub stored_mib: f64,
    /// What else is worth knowing.
    pub note: String,
    /// Bytes read of the image alone, where the tool says so.
    #[serde(skip)]
    pub image_read_mib: Option<f64>,
    /// Seconds that making its data durable took after its end.
    #[serde(skip)]
    pub flush_s: f64,
    /// Median and 99th percentile of its reads in milliseconds, where they were timed.
    #[serde(skip)]
    pub latency_ms: Option<(f64, f64)>,
}

/// Bytes as MiB.
pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

/// Prints the rows as a table on standard output.
pub(super) fn print_table(rows: &[Row]) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header([
        "case",
        "tool",
        "wall s",
        "user s",
        "sys s",
        "peak MiB",
        "read MiB",
        "stored MiB",
        "note",
    ]);
    for row in rows {
        table.add_row([
            row.case.to_string(),
            row.tool.clone(),
            format!("{:.1}", row.wall_s),
            format!("{:.1}", row.user_s),
            format!("{:.1}", row.sys_s),
            format!("{:.0}", row.peak_mib),
            format!("{:.0}", row.read_mib),
            format!("{:.0}", row.stored_mib),
            row.note.clone(),
        ]);
    }
    for column in 2..8 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(io::stdout(), "{table}")
}

/// Reads the rows that [`write_json`] wrote.
pub(super) fn read_json(path: &Path) -> Result<Vec<Row>> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} has no results", path.display()))
}

/// Writes the rows as a list of objects.
pub(super) fn write_json(rows: &[Row], path: &Path) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(rows)?;
    text.push(b'\n');
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_the_json_are_fixed() {
        let row = Row {
            case: Case::Full,
            tool: "cp".to_owned(),
            wall_s: 1.0,
            user_s: 0.5,
            sys_s: 0.25,
            peak_mib: 1.0,
            read_mib: 2.0,
            stored_mib: 3.0,
            note: String::new(),
            image_read_mib: Some(1.0),
            flush_s: 0.0,
            latency_ms: None,
        };
        assert_eq!(
            serde_json::to_string(&[row]).unwrap(),
            r#"[{"case":"full","tool":"cp","wall_s":1.0,"user_s":0.5,"sys_s":0.25,"peak_mib":1.0,"read_mib":2.0,"stored_mib":3.0,"note":""}]"#
        );
    }
}
