//! Programs with a time limit.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// A limit that only something stuck reaches, even on a crowded machine.
pub const LONG: Duration = Duration::from_secs(120);

/// Runs a program to its end, at most `limit`, and gives its standard output. It is killed when
/// the limit passes or the future is dropped.
///
/// # Errors
/// It cannot be started (named with the package to install, where known), takes too long, or
/// ends with anything but 0; the message has what it printed.
pub async fn run(program: &str, args: &[&str], limit: Duration) -> Result<String> {
    let shown = format!("`{program} {}`", args.join(" "));
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(program)
        .args(args)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(limit, output)
        .await
        .with_context(|| format!("{shown} did not end within {limit:?}"))?
        .with_context(|| format!("cannot start {shown}; `cargo xtask setup` installs it"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{shown}: {}\n{text}{errors}", output.status);
    }
    Ok(text)
}
