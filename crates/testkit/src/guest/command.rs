//! QEMU's command line. Pure: the same plan gives the same words.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::disk::GuestDisk;
use crate::{Accelerator, Assets, QemuProgram};

/// UEFI firmware, as Debian and Ubuntu package it.
const UEFI_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// Its variables when a machine is new.
pub(crate) const UEFI_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// The files and sockets of one guest, all in one short directory: the path of a Unix socket has
/// at most 107 bytes.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) dir: PathBuf,
}

impl Places {
    pub(crate) fn qmp(&self) -> PathBuf {
        self.dir.join("qmp")
    }
    pub(crate) fn test_qmp(&self) -> PathBuf {
        self.dir.join("tqmp")
    }
    pub(crate) fn agent(&self) -> PathBuf {
        self.dir.join("qga")
    }
    pub(crate) fn control(&self) -> PathBuf {
        self.dir.join("ctl")
    }
    pub(crate) fn nvram(&self) -> PathBuf {
        self.dir.join("nvram.fd")
    }
    pub(crate) fn serial(&self) -> PathBuf {
        self.dir.join("serial.log")
    }
    pub(crate) fn errors(&self) -> PathBuf {
        self.dir.join("qemu.err")
    }
}

/// The hardware of a guest.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) uuid: Uuid,
    pub(crate) memory_mib: u32,
    pub(crate) iothread: bool,
    pub(crate) accelerator: Accelerator,
    pub(crate) uefi: bool,
    pub(crate) extra: Vec<String>,
}

/// The words after the program's name.
pub(crate) fn arguments(
    machine: &Machine,
    assets: &Assets,
    program: &QemuProgram,
    disks: &[GuestDisk],
    places: &Places,
) -> Vec<String> {
    let mut words = Words::default();
    words.option("-name", &machine.name);
    words.option("-uuid", &machine.uuid.to_string());
    words.option("-M", "q35");
    match machine.accelerator {
        Accelerator::Kvm => {
            words.option("-accel", "kvm");
            words.option("-cpu", "host");
        }
        Accelerator::Tcg => {
            words.option("-accel", "tcg,thread=multi,tb-size=32");
            words.option("-cpu", "qemu64");
        }
    }
    words.option("-m", &machine.memory_mib.to_string());
    words.option("-smp", "1");
    for flag in ["-nodefaults", "-no-user-config", "-no-reboot"] {
        words.0.push(flag.to_owned());
    }
    words.option("-display", "none");
    for dir in &program.firmware {
        words.option("-L", &shown(dir));
    }
    if machine.uefi {
        words.uefi(&places.nvram());
        words.option("-kernel", &shown(&assets.efi_kernel));
    } else {
        if let Some(image) = &program.quick_boot {
            words.option("-bios", &shown(image));
        }
        words.option("-kernel", &shown(&assets.kernel));
    }
    words.option("-initrd", &shown(&assets.initrd));
    // The kernel's check of its timer fails, and the boot with it, where the host is crowded.
    words.option("-append", "console=ttyS0 quiet panic=-1 no_timer_check");
    words.option("-serial", &format!("file:{}", shown(&places.serial())));
    if machine.iothread {
        words.option("-object", "iothread,id=io0");
    }
    for disk in disks {
        words.disk(disk, machine.iothread);
    }
    words.option("-device", "virtio-serial-pci,id=serial0");
    words.port("agent", &places.agent(), "org.qemu.guest_agent.0");
    words.port("test", &places.control(), "org.tresor.test.0");
    for monitor in [places.qmp(), places.test_qmp()] {
        words.option(
            "-qmp",
            &format!("unix:{},server=on,wait=off", shown(&monitor)),
        );
    }
    words.0.extend(machine.extra.iter().cloned());
    words.0
}

#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn option(&mut self, name: &str, value: &str) {
        self.0.extend([name.to_owned(), value.to_owned()]);
    }

    fn uefi(&mut self, nvram: &Path) {
        for (unit, file) in [(0, format!("{UEFI_CODE},readonly=on")), (1, shown(nvram))] {
            self.option(
                "-drive",
                &format!("if=pflash,format=raw,unit={unit},file={file}"),
            );
        }
    }

    fn disk(&mut self, disk: &GuestDisk, iothread: bool) {
        let GuestDisk { name, path, format } = disk;
        let file = shown(path);
        self.option(
            "-blockdev",
            &format!("driver=file,node-name=file-{name},filename={file},discard=unmap"),
        );
        let format = format.name();
        self.option(
            "-blockdev",
            &format!("driver={format},node-name={name},file=file-{name},discard=unmap"),
        );
        let thread = if iothread { ",iothread=io0" } else { "" };
        self.option(
            "-device",
            &format!("virtio-blk-pci,id=dev-{name},drive={name},serial={name}{thread}"),
        );
    }

    fn port(&mut self, id: &str, socket: &Path, name: &str) {
        let socket = shown(socket);
        self.option(
            "-chardev",
            &format!("socket,id={id},path={socket},server=on,wait=off"),
        );
        self.option(
            "-device",
            &format!("virtserialport,chardev={id},name={name}"),
        );
    }
}

fn shown(path: &Path) -> String {
    // A comma separates options; QEMU reads a doubled one as itself.
    path.display().to_string().replace(',', ",,")
}
