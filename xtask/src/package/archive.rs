//! The archive: the program, completions, the guest's hook, units and the configuration file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{Contents, SHELLS};
use crate::process::succeeds;

/// Files of the repository that go along.
const FILES: [&str; 8] = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "guest/fsfreeze-hook",
    "packaging/tresor.toml",
    "packaging/systemd/tresor.service",
    "packaging/systemd/tresor-host.service",
];

pub(super) fn make(contents: &Contents, out: &Path) -> Result<PathBuf> {
    let arch = std::env::consts::ARCH;
    let name = format!("tresor-{}-{arch}", contents.version);
    let dir = out.join(&name);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(dir.join("completions"))?;
    fs::copy(&contents.program, dir.join("tresor")).context("cannot copy the program")?;
    for (shell, _) in SHELLS {
        let script = contents.completions(shell)?;
        let file = format!("tresor.{shell}");
        fs::write(dir.join("completions").join(file), script)?;
    }
    for file in FILES {
        let name = Path::new(file).file_name().context("a file has no name")?;
        contents.copy(file, &dir.join(name))?;
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
    Ok(archive)
}
