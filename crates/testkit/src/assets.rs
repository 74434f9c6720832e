//! What `cargo xtask setup` prepared in `target/guest`: QEMU programs, a kernel, a first root,
//! disks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// Which QEMU a guest runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Qemu {
    /// The one that is installed on this host.
    Host,
    /// 7.2, unpacked beside it: the oldest that must work.
    V7_2,
}

impl Qemu {
    /// From `TRESOR_TEST_QEMU` (`host` or `7.2`); the host's when that is not set.
    ///
    /// # Errors
    /// The variable has another value.
    pub fn from_environment() -> Result<Self> {
        match std::env::var("TRESOR_TEST_QEMU").as_deref() {
            Err(_) | Ok("" | "host") => Ok(Self::Host),
            Ok("7.2") => Ok(Self::V7_2),
            Ok(other) => bail!("TRESOR_TEST_QEMU={other:?}: neither `host` nor `7.2`"),
        }
    }
}

/// An installed or unpacked QEMU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QemuProgram {
    /// Which one it is.
    pub qemu: Qemu,
    /// As it says itself, such as `10.0.2`.
    pub version: String,
    /// `qemu-system-x86_64`.
    pub program: PathBuf,
    /// Where it finds firmware (`-L`), when that is not the built-in place.
    pub firmware: Vec<PathBuf>,
    /// A firmware that starts a given kernel with less ado than the built-in one, where it is.
    pub quick_boot: Option<PathBuf>,
}

impl QemuProgram {
    /// Whether it can write a saved state to a file (since 8.2) — and is new enough for us to
    /// use it.
    #[must_use]
    pub fn saves_state(&self) -> bool {
        self.is_at_least(9)
    }

    /// Whether disks of an I/O thread can be exported without QEMU aborting (seen on 7.2).
    #[must_use]
    pub fn exports_iothread_disks(&self) -> bool {
        self.is_at_least(9)
    }

    fn is_at_least(&self, wanted: u32) -> bool {
        let major = self.version.split('.').next().unwrap_or_default();
        major.parse::<u32>().is_ok_and(|major| major >= wanted)
    }
}

/// Everything that is needed to boot a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assets {
    /// Changes with anything that a guest is made of.
    pub stamp: String,
    /// An ELF kernel (PVH), or a bzImage where none could be had.
    pub kernel: PathBuf,
    /// The same kernel as its package has it, for firmware that starts EFI programs.
    pub efi_kernel: PathBuf,
    /// The first root: drivers, then over to the system disk.
    pub initrd: PathBuf,
    /// The system disk (qcow2, ext4 without partitions). Copied, never written.
    pub system_disk: PathBuf,
    /// An empty data disk (qcow2, ext4). Copied, never written.
    pub data_disk: PathBuf,
    /// The QEMU programs that are there.
    pub qemus: Vec<QemuProgram>,
}

const FILE: &str = "assets.json";

impl Assets {
    /// `target/guest` of this workspace, or `TRESOR_GUEST_DIR`.
    #[must_use]
    pub fn dir() -> PathBuf {
        std::env::var_os("TRESOR_GUEST_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guest"),
            PathBuf::from,
        )
    }

    /// What set-up left.
    ///
    /// # Errors
    /// Set-up has not run, or something that it made is gone.
    pub fn load() -> Result<Self> {
        let file = Self::dir().join(FILE);
        let text = fs::read(&file).with_context(|| {
            format!(
                "{} is not there: run `cargo xtask setup` first",
                file.display()
            )
        })?;
        let assets: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not of this version", file.display()))?;
        for path in [
            &assets.kernel,
            &assets.efi_kernel,
            &assets.initrd,
            &assets.system_disk,
            &assets.data_disk,
        ] {
            if !path.is_file() {
                bail!("{} is gone: run `cargo xtask setup`", path.display());
            }
        }
        Ok(assets)
    }

    /// Leaves them for [`Assets::load`].
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self) -> Result<()> {
        let file = Self::dir().join(FILE);
        let temporary = file.with_extension("new");
        fs::write(&temporary, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&temporary, &file))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// The program of a version.
    ///
    /// # Errors
    /// It could not be had on this distribution.
    pub fn qemu(&self, qemu: Qemu) -> Result<&QemuProgram> {
        self.qemus
            .iter()
            .find(|program| program.qemu == qemu)
            .with_context(|| {
                format!("QEMU {qemu:?} is not there: `cargo xtask setup` says why it has none")
            })
    }
}
