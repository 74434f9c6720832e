//! `cargo xtask package`: what a user unpacks on a host.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    process::{capture_bytes, succeeds},
    term::say,
    workspace,
};

/// Shells with a completion script.
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Files of the repository that go along.
const FILES: [&str; 5] = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "guest/fsfreeze-hook",
];

/// Builds a release and packs it, with completions and the guest's hook, into one archive.
pub(crate) fn run(out: &Path) -> Result<()> {
    let root = workspace::root()?;
    say("building a release of tresor");
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(&root).args([
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--package",
        "tresor",
    ]);
    if !succeeds(&mut build)? {
        bail!("tresor does not build");
    }
    let program = root.join("target/release/tresor");
    let name = format!(
        "tresor-{}-{}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH
    );
    let dir = out.join(&name);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(dir.join("completions"))?;
    fs::copy(&program, dir.join("tresor")).context("cannot copy the program")?;
    for shell in SHELLS {
        let script = capture_bytes(Command::new(&program).args(["completions", shell]))?;
        fs::write(
            dir.join("completions").join(format!("tresor.{shell}")),
            script,
        )?;
    }
    for file in FILES {
        let target = dir.join(Path::new(file).file_name().context("a file has no name")?);
        fs::copy(root.join(file), target).with_context(|| format!("cannot copy {file}"))?;
    }
    let archive = out.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args([
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "-czf",
    ]);
    if !succeeds(tar.arg(&archive).arg("-C").arg(out).arg(&name))? {
        bail!("tar fails");
    }
    say(&format!("packed {}", archive.display()));
    Ok(())
}
