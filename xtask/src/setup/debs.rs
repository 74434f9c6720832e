//! Packages that are only unpacked, into `target/guest`: a kernel, the guest's user land, QEMU 7.2
//! beside the host's, and Prometheus for its promtool. Nothing of the host changes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::LazyApt;
use crate::term::say;

/// Raised when the way packages are chosen or unpacked changes.
const VERSION: u32 = 2;

/// Where the unpacked packages are.
pub(crate) struct Unpacked {
    pub(crate) kernel: PathBuf,
    pub(crate) userland: PathBuf,
    /// `None`: this distribution has no 7.2.
    pub(crate) old_qemu: Option<PathBuf>,
}

/// Unpacks what is not there yet.
pub(crate) fn unpack(dir: &Path, apt: &mut LazyApt<'_>) -> Result<Unpacked> {
    let kernel = group(dir, "kernel", apt, kernel_packages)?;
    let userland = group(dir, "userland", apt, userland_packages)?;
    let old_qemu = group(dir, "qemu-7.2", apt, old_qemu_packages)?;
    let prometheus = group(dir, "prometheus", apt, |_| {
        Ok(vec!["prometheus".to_owned()])
    })?;
    prometheus
        .context("no package source has Prometheus, whose promtool reads metrics and rules")?;
    Ok(Unpacked {
        kernel: kernel.context("no package source has a kernel for virtual machines")?,
        userland: userland.context("no package source has the guest's user land")?,
        old_qemu,
    })
}

/// Whether everything is unpacked: what `--no-install` asks.
pub(crate) fn absent(dir: &Path) -> Vec<&'static str> {
    ["kernel", "userland", "qemu-7.2", "prometheus"]
        .into_iter()
        .filter(|name| !stamp_fits(dir, name))
        .collect()
}

fn stamp_fits(dir: &Path, name: &str) -> bool {
    fs::read_to_string(stamp_path(dir, name))
        .is_ok_and(|text| text.starts_with(&format!("{VERSION}\n")))
}

fn stamp_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.stamp"))
}

/// One group: chosen, downloaded and unpacked once. The stamp is written last, and holds the
/// packages; only its first line where there are none to be had.
fn group(
    dir: &Path,
    name: &str,
    apt: &mut LazyApt<'_>,
    choose: fn(&mut LazyApt<'_>) -> Result<Vec<String>>,
) -> Result<Option<PathBuf>> {
    let (root, stamp) = (dir.join(name), stamp_path(dir, name));
    if !stamp_fits(dir, name) {
        let packages = choose(apt)?;
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        if packages.is_empty() {
            say(&format!("{name}: this distribution has none"));
        } else {
            say(&format!("{name}: unpacking {}", packages.join(" ")));
            apt.get()?.unpack(&packages, &root)?;
        }
        fs::write(&stamp, format!("{VERSION}\n{}", packages.join("\n")))?;
    }
    Ok(root.is_dir().then_some(root))
}

/// The package behind the "newest kernel" one, and its modules where those are apart.
fn kernel_packages(apt: &mut LazyApt<'_>) -> Result<Vec<String>> {
    let newest = apt.distro().kernel_package();
    let image = apt
        .get()?
        .depends(newest, false)?
        .into_iter()
        .find(|name| name.starts_with("linux-image-") && name != newest)
        .with_context(|| format!("{newest} depends on no kernel"))?;
    let mut packages = vec![image.clone()];
    let modules = image.replacen("linux-image-", "linux-modules-", 1);
    if apt.get()?.candidate(&modules, None)?.is_some() {
        packages.push(modules);
    }
    Ok(packages)
}

/// A shell, the agent, and every library that the agent may need.
fn userland_packages(apt: &mut LazyApt<'_>) -> Result<Vec<String>> {
    let mut packages = vec!["busybox-static".to_owned(), "qemu-guest-agent".to_owned()];
    let libraries = apt.get()?.depends("qemu-guest-agent", true)?;
    packages.extend(
        libraries
            .into_iter()
            .filter(|name| name.starts_with("lib") || name == "zlib1g")
            .filter(|name| !name.contains("perl")),
    );
    // Dependencies may name packages that nobody has any more.
    let mut known = Vec::new();
    for package in packages {
        if apt.get()?.candidate(&package, None)?.is_some() {
            known.push(package);
        }
    }
    Ok(known)
}

/// QEMU 7.2 with its firmware, where the distribution still has it.
fn old_qemu_packages(apt: &mut LazyApt<'_>) -> Result<Vec<String>> {
    let mut packages = Vec::new();
    for name in [
        "qemu-system-x86",
        "qemu-system-common",
        "qemu-system-data",
        "qemu-utils",
    ] {
        let versions = apt.get()?.versions(name)?;
        let Some(version) = versions.iter().find(|version| version.starts_with("1:7.2")) else {
            return Ok(Vec::new());
        };
        packages.push(format!("{name}={version}"));
    }
    let release = apt.distro().codename.clone();
    packages.push(format!("seabios/{release}"));
    Ok(packages)
}
