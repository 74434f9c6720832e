//! A Python of our own in `target/python`, with what the reader of docs/format/ and other test
//! programs need: nothing is put into the host's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{process::capture, term::say};

/// Exact releases: what a test runs with does not change by itself.
const PACKAGES: &[&str] = &[
    // docs/format/reader.py
    "argon2-cffi==25.1.0",
    "blake3==1.0.11",
    "cryptography==50.0.2",
    // a mail server for tests
    "aiosmtpd==1.4.6",
    // random requests, made from the API's document
    "schemathesis==4.32.5",
    "zstandard==0.25.0",
];

/// The stamp holds what was installed, and is written last.
fn stamp(dir: &Path) -> PathBuf {
    dir.join("tresor-packages")
}

fn wanted() -> String {
    PACKAGES.join("\n")
}

/// Its interpreter.
pub(super) fn program(workspace: &Path) -> PathBuf {
    workspace.join("target/python/bin/python")
}

/// Whether all of it is there.
pub(super) fn is_ready(workspace: &Path) -> bool {
    let dir = workspace.join("target/python");
    fs::read_to_string(stamp(&dir)).is_ok_and(|there| there == wanted())
}

/// Makes sure of it.
pub(super) fn prepare(workspace: &Path) -> Result<()> {
    if is_ready(workspace) {
        return Ok(());
    }
    let dir = workspace.join("target/python");
    say("making a Python environment in target/python");
    capture(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&dir),
    )?;
    capture(
        Command::new(program(workspace))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(PACKAGES),
    )?;
    fs::write(stamp(&dir), wanted()).context("cannot write into target/python")
}
