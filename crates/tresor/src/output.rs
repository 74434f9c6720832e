//! What is printed: results on stdout, everything else on stderr.
//!
//! With `--output json` stdout carries one object a line, each with a `message_type`, problems
//! too; nothing else is ever written there.

use std::io::{self, Write as _};

use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use serde::Serialize;
use tresor_problem::Problem;

use crate::args::OutputFormat;

/// Prints results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: OutputFormat,
}

impl Output {
    pub(crate) fn new(format: OutputFormat) -> Self {
        Self { format }
    }

    pub(crate) fn is_json(self) -> bool {
        self.format == OutputFormat::Json
    }

    /// Prints one result: as JSON its members, else `text`.
    pub(crate) fn result(
        self,
        message_type: &str,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> io::Result<()> {
        match self.format {
            OutputFormat::Text => write_line(&text()),
            OutputFormat::Json => write_line(&json_line(message_type, value)?),
        }
    }

    /// Prints a list: as JSON one object a line, else one table.
    pub(crate) fn list<T: Serialize>(
        self,
        message_type: &str,
        header: &[&str],
        rows: &[T],
        cells: impl Fn(&T) -> Vec<String>,
        when_empty: &str,
    ) -> io::Result<()> {
        match self.format {
            OutputFormat::Json => rows
                .iter()
                .try_for_each(|row| write_line(&json_line(message_type, row)?)),
            OutputFormat::Text if rows.is_empty() => {
                note(when_empty);
                Ok(())
            }
            OutputFormat::Text => {
                let mut table = plain_table(header);
                for row in rows {
                    table.add_row(cells(row));
                }
                write_line(&table.to_string())
            }
        }
    }

    /// Prints the problem that ended the command.
    pub(crate) fn problem(self, problem: &Problem) {
        if self.is_json() {
            // A closed stdout cannot be told anything; the exit code still tells.
            json_line("problem", problem)
                .and_then(|line| write_line(&line))
                .ok();
            return;
        }
        let mut text = format!(
            "error: {} [{}]\n  {}\n",
            problem.title, problem.code, problem.cause
        );
        text.push_str("what to do:\n");
        for (step, remedy) in problem.remedy.iter().enumerate() {
            text.push_str(&format!("  {}. {remedy}\n", step + 1));
        }
        for detail in &problem.detail {
            text.push_str(&format!("  | {detail}\n"));
        }
        io::stderr().write_all(text.as_bytes()).ok();
    }
}

/// A table without vertical lines, which wraps at the terminal's width.
pub(crate) fn plain_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_header(header.to_vec());
    table
}

/// A line for people on stderr.
pub(crate) fn note(text: &str) {
    // A closed stderr is no reason to stop.
    writeln!(io::stderr(), "{text}").ok();
}

/// Says what was damaged and read elsewhere.
pub(crate) fn note_around(around: &[tresor_vault::ReadAround]) {
    for around in around {
        note(&format!(
            "warning: {} is damaged or missing ({}): {} in {} pieces were read from {}",
            around.object,
            around.reason,
            bytes(around.bytes),
            around.pieces,
            around.instead,
        ));
    }
}

fn write_line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

fn json_line(message_type: &str, value: &impl Serialize) -> io::Result<String> {
    let mut object = serde_json::Map::new();
    object.insert("message_type".to_owned(), message_type.into());
    match serde_json::to_value(value)? {
        serde_json::Value::Object(members) => object.extend(members),
        other => {
            object.insert("value".to_owned(), other);
        }
    }
    Ok(serde_json::to_string(&object)?)
}

/// Bytes as people read them: `1.4 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    // Three digits are enough to read; the loss of precision above 2^53 is far below them.
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value < 10.0 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

/// A duration in microseconds as people read it.
pub(crate) fn micros(time: u64) -> String {
    match time {
        0..10_000 => format!("{}.{} ms", time / 1000, time % 1000 / 100),
        10_000..10_000_000 => format!("{} ms", time / 1000),
        _ => format!("{} s", time / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes(u64::MAX), "16384 PiB");
    }

    #[test]
    fn json_is_one_object_with_its_type() {
        let line = json_line("vm", &serde_json::json!({"name": "web01"})).unwrap();
        assert_eq!(line, r#"{"message_type":"vm","name":"web01"}"#);
    }
}
