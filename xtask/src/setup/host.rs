//! Programs that must be on the host, and the packages that bring them.

use anyhow::{Context, Result, bail};

use super::{
    apt::{Apt, is_root},
    distro::{Distro, Family},
};
use crate::process::find;

/// A program (or a file, by its path) and the package that has it.
struct Need {
    program: &'static str,
    package: &'static str,
    /// Comes with QEMU: from backports where those have the wanted version.
    qemu: bool,
}

const fn need(program: &'static str, package: &'static str) -> Need {
    Need {
        program,
        package,
        qemu: false,
    }
}

const fn qemu(program: &'static str, package: &'static str) -> Need {
    Need {
        program,
        package,
        qemu: true,
    }
}

const NEEDS: &[Need] = &[
    qemu("qemu-system-x86_64", "qemu-system-x86"),
    qemu("qemu-img", "qemu-utils"),
    qemu("qemu-nbd", "qemu-utils"),
    need("mkfs.ext4", "e2fsprogs"),
    need("lz4", "lz4"),
    need("zstd", "zstd"),
    need("xz", "xz-utils"),
    need("setpriv", "util-linux"),
    need("swtpm", "swtpm"),
    need("/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf"),
    need("nbdkit", "nbdkit"),
    need("nbdinfo", "libnbd-bin"),
    need("faketime", "faketime"),
    // Calendar expressions are compared with it.
    need("systemd-analyze", "systemd"),
    need("/usr/share/zoneinfo/Europe/Berlin", "tzdata"),
    // The Debian package, and the machine that it is tried on.
    need("dpkg-shlibdeps", "dpkg-dev"),
    need("strip", "binutils"),
    need("nsenter", "util-linux"),
    need("curl", "curl"),
    need("ip", "iproute2"),
    need("cc", "gcc"),
    need("python3", "python3-venv"),
    need("node", "nodejs"),
    need("npm", "npm"),
];

/// Packages that QEMU is installed with.
const QEMU_PACKAGES: &[&str] = &[
    "qemu-system-x86",
    "qemu-system-common",
    "qemu-system-data",
    "qemu-utils",
    "seabios",
];

/// The QEMU we would have where a choice exists.
const WANTED_MAJOR: u32 = 10;

/// What a machine lacks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Packages, apart from QEMU's.
    pub(crate) packages: Vec<&'static str>,
    /// QEMU, or a part of it.
    pub(crate) qemu: bool,
}

impl Missing {
    pub(crate) fn is_empty(&self) -> bool {
        self.packages.is_empty() && !self.qemu
    }

    /// For people.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let mut names = self.packages.clone();
        if self.qemu {
            names.extend(QEMU_PACKAGES);
        }
        names
    }
}

/// Looks for every program.
pub(crate) fn missing() -> Missing {
    plan(|program| find(program).is_some())
}

fn plan(present: impl Fn(&str) -> bool) -> Missing {
    let mut missing = Missing::default();
    for need in NEEDS.iter().filter(|need| !present(need.program)) {
        if need.qemu {
            missing.qemu = true;
        } else if !missing.packages.contains(&need.package) {
            missing.packages.push(need.package);
        }
    }
    missing
}

/// Installs what is missing.
pub(crate) fn install(missing: &Missing, apt: &Apt, distro: &Distro) -> Result<()> {
    if !is_root() && find("sudo").is_none() {
        bail!(
            "these packages are missing and this is not root: {}",
            missing.names().join(" ")
        );
    }
    if !missing.packages.is_empty() {
        crate::term::say(&format!("installing {}", missing.packages.join(" ")));
        apt.install(&missing.packages, None)?;
    }
    if missing.qemu {
        let suite = qemu_suite(apt, distro)?;
        let from = suite.as_deref().unwrap_or(&distro.codename);
        crate::term::say(&format!("installing QEMU from {from}"));
        apt.install(QEMU_PACKAGES, suite.as_deref())?;
    }
    let still = self::missing();
    if !still.is_empty() {
        bail!("installed, and still missing: {}", still.names().join(" "));
    }
    Ok(())
}

/// Backports, when they have the wanted QEMU and the release has not.
fn qemu_suite(apt: &Apt, distro: &Distro) -> Result<Option<String>> {
    let own = apt
        .candidate("qemu-system-x86", Some(&distro.codename))?
        .context("no package source has qemu-system-x86")?;
    if major(&own) >= WANTED_MAJOR || distro.family != Family::Debian {
        return Ok(None);
    }
    let backports = distro.backports();
    let newer = apt.candidate("qemu-system-x86", Some(&backports))?;
    Ok(newer
        .filter(|version| major(version) >= WANTED_MAJOR)
        .map(|_| backports))
}

/// The major version in a package's version (`1:10.0.2+ds` is 10).
fn major(version: &str) -> u32 {
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
    let digits: String = upstream.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_machine_lacks_nothing() {
        assert!(plan(|_| true).is_empty());
    }

    #[test]
    fn qemu_is_named_as_a_whole() {
        let missing = plan(|program| program != "qemu-img" && program != "lz4");
        assert_eq!(missing.packages, ["lz4"]);
        assert!(missing.qemu && missing.names().contains(&"qemu-system-x86"));
    }

    #[test]
    fn the_epoch_is_no_version() {
        assert_eq!(major("1:10.0.2+ds-2~bpo12+1"), 10);
        assert_eq!(major("7.2+dfsg"), 7);
    }
}
