//! Programs that a bench needs, and the packages that have them.

use std::{fmt, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{process::find, term::say};

/// A program of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Requirement {
    /// Its name.
    pub program: &'static str,
    /// The Debian (and Ubuntu) package that has it; or, behind [`CRATE`], the crate.
    pub package: &'static str,
}

/// Marks a package that `cargo install` builds, where distributions have none.
pub(super) const CRATE: &str = "crate:";

impl Requirement {
    /// Whether it is there.
    pub(super) fn is_met(&self) -> bool {
        find(self.program).is_some()
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (package {})", self.program, self.package)
    }
}

/// Installs what is missing, or says what it is.
pub(super) fn ensure_installed(requirements: &[Requirement], no_install: bool) -> Result<()> {
    let missing: Vec<_> = requirements
        .iter()
        .filter(|needed| !needed.is_met())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<_> = missing.iter().map(|needed| needed.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let packages = packages.join(" ");
    if no_install {
        bail!("missing: install {packages}, or leave tools out with --only");
    }
    say(&format!("installing {packages}"));
    let (crates, debs): (Vec<_>, Vec<_>) = packages
        .split(' ')
        .partition(|package| package.starts_with(CRATE));
    for package in crates {
        let mut cargo = Command::new("cargo");
        let name = package.trim_start_matches(CRATE);
        install(cargo.args(["install", "--locked", name]), package)?;
    }
    if !debs.is_empty() {
        let mut apt = Command::new("apt-get");
        apt.args(["-q", "install", "-y", "--no-install-recommends"])
            .args(&debs)
            .env("DEBIAN_FRONTEND", "noninteractive");
        install(&mut apt, &debs.join(" "))?;
    }
    Ok(())
}

fn install(command: &mut Command, what: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status();
    let status = status.with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program} could not install {what}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_not_installed_against_the_users_will() {
        let missing = Requirement {
            program: "tresor-no-such-program",
            package: "no-package",
        };
        let error = ensure_installed(&[missing], true).unwrap_err().to_string();
        assert!(error.contains("no-package"), "{error}");
    }
}
