//! Running other programs: with their output kept, or shown.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// How much of a failed command's output an error carries.
const TAIL_LINES: usize = 20;

/// Runs to the end and gives what was printed on standard output; an error carries the end of
/// what was printed on both.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {shown}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    bail!(
        "{shown}: {}\n{}",
        output.status,
        tail(&format!("{text}{errors}"))
    )
}

/// Like [`capture`], for output that is not text.
pub(crate) fn capture_bytes(command: &mut Command) -> Result<Vec<u8>> {
    let shown = show(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {shown}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    bail!("{shown}: {}\n{}", output.status, tail(&errors))
}

/// Runs to the end with its output on ours; true when it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    let shown = show(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start {shown}"))?;
    Ok(status.success())
}

/// Where a program is: in `PATH`, or where administrators' programs live. A whole path is looked at
/// as it is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// A program that set-up made sure of, with the place of administrators' programs in `PATH`.
pub(crate) fn tool(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// The last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn show(command: &Command) -> String {
    let mut words = vec![
        Path::new(command.get_program())
            .to_string_lossy()
            .into_owned(),
    ];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    let mut line = words.join(" ");
    if line.len() > 300 {
        line.truncate(
            (0..=300)
                .rev()
                .find(|at| line.is_char_boundary(*at))
                .unwrap_or(0),
        );
        line.push_str(" …");
    }
    format!("`{line}`")
}
