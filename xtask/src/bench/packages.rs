//! Programs that a bench needs, and the packages that have them.

use std::{fmt, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{process::find, term::say};

/// A program of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Requirement {
    /// Its name.
    pub program: &'static str,
    /// The Debian (and Ubuntu) package that has it.
    pub package: &'static str,
}

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
    let status = Command::new("apt-get")
        .args(["-q", "install", "-y", "--no-install-recommends"])
        .args(packages.split(' '))
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .context("cannot run apt-get")?;
    ensure!(status.success(), "apt-get could not install {packages}");
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
