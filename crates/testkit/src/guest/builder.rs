//! What a guest shall be like.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use uuid::Uuid;

use super::{
    Guest,
    command::{Machine, Places, UEFI_VARIABLES},
    disk::{DiskFormat, DiskPlan, Origin},
    saved,
};
use crate::{Accelerator, Assets, Qemu};

/// A guest to be started; by [`Guest::builder`].
#[derive(Debug, Clone)]
pub struct GuestBuilder {
    name: String,
    uuid: Uuid,
    qemu: Option<Qemu>,
    memory_mib: u32,
    iothread: bool,
    accelerator: Option<Accelerator>,
    uefi: bool,
    saved_state: bool,
    disks: Vec<DiskPlan>,
    extra: Vec<String>,
}

impl GuestBuilder {
    pub(super) fn new() -> Self {
        Self {
            name: "tresor-test".to_owned(),
            uuid: Uuid::new_v4(),
            qemu: None,
            memory_mib: 128,
            iothread: false,
            accelerator: None,
            uefi: false,
            saved_state: true,
            disks: vec![DiskPlan {
                name: "system".to_owned(),
                format: DiskFormat::Qcow2,
                origin: Origin::System,
            }],
            extra: Vec::new(),
        }
    }

    /// Its name in QEMU.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Its UUID in QEMU (default: a new one, since VMs are told apart by it).
    #[must_use]
    pub fn uuid(mut self, uuid: Uuid) -> Self {
        self.uuid = uuid;
        self
    }

    /// Which QEMU (default: what `TRESOR_TEST_QEMU` says, else the host's).
    #[must_use]
    pub fn qemu(mut self, qemu: Qemu) -> Self {
        self.qemu = Some(qemu);
        self
    }

    /// Memory, in MiB (default 128).
    #[must_use]
    pub fn memory_mib(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// Serves all disks from an I/O thread of their own, where this QEMU can export such disks
    /// ([`QemuProgram::exports_iothread_disks`](crate::QemuProgram::exports_iothread_disks)).
    #[must_use]
    pub fn iothread(mut self, on: bool) -> Self {
        self.iothread = on;
        self
    }

    /// Kvm or Tcg (default: what works here).
    #[must_use]
    pub fn accelerator(mut self, accelerator: Accelerator) -> Self {
        self.accelerator = Some(accelerator);
        self
    }

    /// Boots by UEFI firmware in flash, with variables of its own ([`Guest::nvram`]), in 256 MiB.
    #[must_use]
    pub fn uefi(mut self) -> Self {
        self.uefi = true;
        self.memory_mib = self.memory_mib.max(256);
        self
    }

    /// Whether to start from a saved state (default) or to boot. On a QEMU that cannot, and with
    /// disks that a test brings itself, it boots anyway.
    #[must_use]
    pub fn saved_state(mut self, on: bool) -> Self {
        self.saved_state = on;
        self
    }

    /// Adds the prepared data disk, named `data`; the guest has it at `/data`.
    #[must_use]
    pub fn data_disk(self) -> Self {
        self.with_disk("data", DiskFormat::Qcow2, Origin::Data)
    }

    /// Adds an empty ext4 disk of that many MiB. The second disk of a guest is at `/data`, the
    /// next ones at `/data2`, `/data3` and so on.
    #[must_use]
    pub fn empty_disk(self, name: &str, format: DiskFormat, mib: u64) -> Self {
        self.with_disk(name, format, Origin::Empty(mib << 20))
    }

    /// Adds a copy of an image.
    #[must_use]
    pub fn disk_from(self, name: &str, format: DiskFormat, image: PathBuf) -> Self {
        self.with_disk(name, format, Origin::Copy(image))
    }

    /// Boots from a copy of this image instead of the prepared system disk.
    #[must_use]
    pub fn system_from(mut self, format: DiskFormat, image: PathBuf) -> Self {
        self.disks[0].format = format;
        self.disks[0].origin = Origin::Copy(image);
        self
    }

    /// Keeps the system disk in another format than qcow2.
    #[must_use]
    pub fn system_format(mut self, format: DiskFormat) -> Self {
        self.disks[0].format = format;
        self
    }

    /// More words for QEMU's command line.
    #[must_use]
    pub fn extra_arguments(mut self, words: &[&str]) -> Self {
        self.extra
            .extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    fn with_disk(mut self, name: &str, format: DiskFormat, origin: Origin) -> Self {
        self.disks.push(DiskPlan {
            name: name.to_owned(),
            format,
            origin,
        });
        self
    }

    /// Starts the guest and waits until it is ready: booted, disks mounted, agent started.
    ///
    /// # Errors
    /// Set-up has not run, or the guest does not come up; the message has its console's end.
    pub async fn start(self) -> Result<Guest> {
        self.start_with(Assets::load()?).await
    }

    pub(crate) async fn start_with(self, assets: Assets) -> Result<Guest> {
        let qemu = match self.qemu {
            Some(qemu) => qemu,
            None => Qemu::from_environment()?,
        };
        let program = assets.qemu(qemu)?.clone();
        let accelerator = match self.accelerator {
            Some(accelerator) => accelerator,
            None => Box::pin(Accelerator::decide(&assets, &program)).await?,
        };
        let names: std::collections::BTreeSet<_> = self.disks.iter().map(|d| &d.name).collect();
        if names.len() != self.disks.len() {
            bail!("two disks of the guest have the same name");
        }
        let machine = Machine {
            name: self.name,
            uuid: self.uuid,
            memory_mib: self.memory_mib,
            iothread: self.iothread && program.exports_iothread_disks(),
            accelerator,
            uefi: self.uefi,
            extra: self.extra,
        };
        let own_disks = self
            .disks
            .iter()
            .any(|disk| matches!(disk.origin, Origin::Copy(_)));
        if self.saved_state && program.saves_state() && !own_disks && !self.uefi {
            return saved::start(machine, assets, program, &self.disks).await;
        }
        let dir = private_dir()?;
        if self.uefi {
            let vars = Places {
                dir: dir.path().to_owned(),
            }
            .nvram();
            std::fs::copy(UEFI_VARIABLES, vars).context("set-up brings UEFI firmware")?;
        }
        let mut disks = Vec::new();
        for plan in &self.disks {
            disks.push(plan.make(&assets, dir.path()).await?);
        }
        let mut guest = Guest::new(machine, assets, program, disks, dir);
        guest.launch(None).await?;
        Ok(guest)
    }
}

/// Short, so that sockets fit; only ours, so that nobody else connects.
pub(super) fn private_dir() -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("tg-").tempdir_in("/tmp")?)
}
