//! `cargo xtask setup`: from a fresh Debian or Ubuntu to guests that boot.
//!
//! What must be on the host is installed by name; everything else is downloaded and unpacked into
//! `target/guest`. Each step says when it has nothing to do by doing nothing: a second run takes
//! well under a second and touches no network. A run that is cut short leaves no stamp for the
//! step it was in, so the next one does it again.

mod apt;
mod cpio;
mod debs;
mod distro;
mod host;
mod image;
mod kernel;
mod python;
mod qemu;
mod sources;
mod workload;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use tresor_testkit::{Assets, Guest, Qemu};

use self::{apt::Apt, distro::Distro};
use crate::{term::say, workspace};

/// The package manager, asked only when something is missing.
struct LazyApt<'a> {
    dir: PathBuf,
    distro: &'a Distro,
    open: Option<Apt>,
}

impl LazyApt<'_> {
    fn get(&mut self) -> Result<&Apt> {
        if self.open.is_none() {
            self.open = Some(Apt::open(&self.dir, self.distro)?);
        }
        self.open.as_ref().context("apt was not opened")
    }

    fn distro(&self) -> &Distro {
        self.distro
    }
}

/// Makes sure of everything; with `install` off, only says what is missing, as an error.
pub(crate) async fn run(install: bool) -> Result<()> {
    let distro = Distro::detect()?;
    let workspace = workspace::root()?;
    let dir = workspace::guest_dir()?;
    fs::create_dir_all(&dir)?;
    let lock = fs::File::create(dir.join("setup.lock"))?;
    lock.lock().context("cannot lock target/guest")?;

    let missing = host::missing();
    if !install {
        let mut absent = debs::absent(&dir);
        if !python::is_ready(&workspace) {
            absent.push("Python packages (into target/python)");
        }
        return report(&missing, &absent, &distro);
    }
    let mut apt = LazyApt {
        dir: dir.join("apt"),
        distro: &distro,
        open: None,
    };
    if !missing.is_empty() {
        host::install(&missing, apt.get()?, &distro)?;
    }
    python::prepare(&workspace)?;
    let unpacked = debs::unpack(&dir, &mut apt)?;
    let workload = workload::build(&workspace, &dir)?;
    let images = image::build(&workspace, &dir, &unpacked, &workload).await?;
    let assets = Assets {
        stamp: images.stamp,
        kernel: images.dir.join("vmlinux"),
        efi_kernel: kernel::find_image(&unpacked.kernel)?.0,
        initrd: images.dir.join("initrd"),
        system_disk: images.dir.join("system.qcow2"),
        data_disk: images.dir.join("data.qcow2"),
        qemus: qemu::programs(unpacked.old_qemu.as_deref())?,
    };
    let known = Assets::load().is_ok_and(|known| known == assets);
    if !known {
        assets.save()?;
        first_boot().await?;
    }
    Ok(())
}

fn report(missing: &host::Missing, absent: &[&str], distro: &Distro) -> Result<()> {
    if missing.is_empty() && absent.is_empty() {
        say("nothing is missing");
        return Ok(());
    }
    if !missing.is_empty() {
        say(&format!("missing packages: {}", missing.names().join(" ")));
    }
    if missing.qemu && distro.family == distro::Family::Debian {
        say(&format!(
            "QEMU 10 is taken from {} where {} has an older one",
            distro.backports(),
            distro.codename
        ));
    }
    if !absent.is_empty() {
        say(&format!(
            "not yet downloaded into target: {}",
            absent.join(", ")
        ));
    }
    bail!("something is missing; `cargo xtask setup` without --no-install brings it")
}

/// Proves that a guest boots, finds out whether hardware virtualisation works, and leaves the
/// saved state that most tests start from.
async fn first_boot() -> Result<()> {
    say("booting a guest");
    let guest = Guest::builder()
        .qemu(Qemu::Host)
        .data_disk()
        .start()
        .await?;
    say(&format!(
        "a guest runs on QEMU {} ({})",
        guest.qemu().version,
        match guest.accelerator() {
            tresor_testkit::Accelerator::Kvm => "hardware virtualisation",
            tresor_testkit::Accelerator::Tcg =>
                "software emulation: hardware virtualisation does not work here",
        }
    ));
    Ok(())
}
