//! The machine definition: enough to boot the restored VM without its original host.

use serde::{Deserialize, Serialize};

use crate::{StreamName, VmId};

/// A VM as its hypervisor ran it at the time of a recovery point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineDefinition {
    /// The VM's UUID.
    pub id: VmId,
    /// The name its hypervisor knows, if it has one.
    pub name: Option<String>,
    /// Machine type with version (`pc-q35-10.0`).
    pub machine: String,
    /// CPU model as the hypervisor names it, and the number of CPUs that were plugged in.
    pub cpu_model: Option<String>,
    /// Number of virtual CPUs.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// What the machine starts from.
    pub firmware: Firmware,
    /// Network cards, in bus order.
    pub nics: Vec<NetworkCard>,
    /// All disks, in bus order, also those that were not backed up.
    pub disks: Vec<MachineDisk>,
    /// Files that belong to the machine and are kept in the recovery point beside the disks.
    pub attachments: Vec<Attachment>,
    /// The definition in the hypervisor's own words.
    pub source: HypervisorSource,
}

/// What a machine starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Firmware {
    /// A BIOS image, by the name or path given to the hypervisor (`None`: its default).
    Bios {
        /// Name or path.
        image: Option<String>,
    },
    /// UEFI in flash; code and variables are attachments.
    Uefi {
        /// Whether secure boot was enforced, where that is known.
        secure_boot: Option<bool>,
    },
    /// The hypervisor loads a kernel directly; kernel and initial ramdisk are attachments.
    DirectKernel {
        /// The kernel command line.
        command_line: String,
    },
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkCard {
    /// Front end (`virtio-net-pci`).
    pub model: String,
    /// Hardware address.
    pub mac: Option<String>,
    /// Back end in the hypervisor's words.
    pub backend: Option<String>,
}

/// A disk of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineDisk {
    /// Name within the VM.
    pub name: StreamName,
    /// Front end (`virtio-blk-pci`).
    pub front_end: String,
    /// Serial number that the guest sees.
    pub serial: Option<String>,
    /// Place in the boot order, lowest first.
    pub boot_index: Option<u32>,
    /// I/O thread.
    pub iothread: Option<String>,
    /// Virtual size in bytes.
    pub size: u64,
    /// Image format (`qcow2`, `raw`).
    pub format: String,
    /// Path of the image on its original host.
    pub path: Option<String>,
    /// Whether the guest could only read it.
    pub read_only: bool,
    /// Whether others than this VM may write to it.
    #[serde(default)]
    pub shared: bool,
    /// Identity of the image, in the provider's words.
    #[serde(default)]
    pub image: Option<String>,
    /// Why it is not in the recovery point; `None` when it is.
    pub excluded: Option<String>,
}

/// What an attachment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachmentRole {
    /// Kernel of a direct boot.
    Kernel,
    /// Initial ramdisk of a direct boot.
    Initrd,
    /// Firmware code in flash.
    FirmwareCode,
    /// Firmware variables (NVRAM) in flash.
    Nvram,
    /// State of the emulated TPM.
    TpmState,
}

/// The files in which the TPM emulator (swtpm) keeps its state, by their names in its directory.
pub const TPM_STATE_FILES: [&str; 3] =
    ["tpm2-00.permall", "tpm2-00.volatilestate", "tpm-00.permall"];

/// A file of the machine that is not a disk. Its content is a stream of the recovery point with
/// the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Name within the recovery point; also the file name after a restore.
    pub name: StreamName,
    /// What it is for.
    pub role: AttachmentRole,
    /// Path on the original host.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
}

/// The definition in the words of the hypervisor's own tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum HypervisorSource {
    /// A QEMU process.
    Qemu {
        /// Its version (`10.0.2`).
        version: String,
        /// Its command line, program first.
        command_line: Vec<String>,
    },
}
