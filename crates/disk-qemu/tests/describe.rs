//! What the provider says of a real VM.
#![allow(missing_docs)]

mod vm;

use std::time::Duration;

use tresor_disk::{ErrorKind, SnapshotProvider, VmState};
use tresor_disk_qemu::{QemuConfig, QemuProvider};
use tresor_model::{AttachmentRole, Firmware, HypervisorSource};
use tresor_qmp::ConnectOptions;
use vm::{DISK, Vm};

#[tokio::test]
async fn a_machine_is_described_with_disks_cards_and_firmware() {
    let directory = tempfile::tempdir().expect("temp dir");
    let nvram = directory.path().join("vars.fd");
    let flash = 4 << 20;
    std::fs::File::create(&nvram)
        .and_then(|file| file.set_len(flash))
        .expect("nvram");
    let drive = format!("if=pflash,format=raw,unit=1,file={}", nvram.display());
    let code = directory.path().join("code.fd");
    std::fs::File::create(&code)
        .and_then(|file| file.set_len(flash))
        .expect("code");
    let code_drive = format!(
        "if=pflash,format=raw,unit=0,readonly=on,file={}",
        code.display()
    );
    let extra = [
        "-drive",
        &code_drive,
        "-drive",
        &drive,
        "-netdev",
        "user,id=n0",
        "-device",
        "virtio-net-pci,netdev=n0,romfile=,mac=52:54:00:12:34:56",
        "-device",
        "ide-cd,id=cd0",
        "-cpu",
        "qemu64",
        "-S",
    ];
    let vm = Vm::with(&extra).await;
    let found = vm.provider().await.describe().await.expect("describes");

    assert_eq!(found.state, VmState::Paused("prelaunch".to_owned()));
    let machine = found.machine;
    assert_eq!(machine.name.as_deref(), Some("web01"));
    assert!(
        machine.machine.starts_with("pc-q35-"),
        "{}",
        machine.machine
    );
    assert_eq!((machine.cpus, machine.memory), (1, 32 << 20));
    assert_eq!(machine.cpu_model.as_deref(), Some("qemu64"));
    assert_eq!(machine.firmware, Firmware::Uefi { secure_boot: None });
    let names: Vec<&str> = machine
        .disks
        .iter()
        .map(|disk| disk.name.as_str())
        .collect();
    assert_eq!(names, ["vda", "vdb", "raw", "cd0"]);
    let vda = machine.disks.first().expect("there");
    assert_eq!(vda.front_end, "virtio-blk-pci");
    assert_eq!((vda.size, vda.format.as_str()), (DISK, "qcow2"));
    assert_eq!(vda.serial.as_deref(), Some("SN-A"));
    let iothread = vm::survives_iothreads().then_some("io0");
    assert_eq!(vda.iothread.as_deref(), iothread);
    assert_eq!(vda.path.as_deref(), vm.path("vda.qcow2").to_str());
    assert_eq!(vda.excluded, None);
    let cd = machine.disks.last().expect("there");
    assert!(cd.excluded.is_some());
    let card = machine.nics.first().expect("one");
    assert_eq!(card.model, "virtio-net-pci");
    assert_eq!(card.mac.as_deref(), Some("52:54:00:12:34:56"));
    let roles: Vec<_> = machine
        .attachments
        .iter()
        .map(|file| (file.role, file.size))
        .collect();
    let expected = [
        (AttachmentRole::FirmwareCode, flash),
        (AttachmentRole::Nvram, flash),
    ];
    assert_eq!(roles, expected);
    let HypervisorSource::Qemu {
        version,
        command_line,
    } = machine.source;
    assert!(version.split('.').count() == 3 && command_line.contains(&"qemu64".to_owned()));
}

/// What QEMU takes for a Linux kernel: a header, and nothing that would run.
fn kernel() -> Vec<u8> {
    let mut image = vec![0; 16 << 10];
    image[0x1f1] = 4; // sectors of real-mode code
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x0202_u16.to_le_bytes());
    image[0x211] = 1; // loaded high
    image
}

#[tokio::test]
async fn a_direct_kernel_boot_keeps_its_files() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (kernel_path, initrd_path) = (directory.path().join("k"), directory.path().join("i"));
    std::fs::write(&kernel_path, kernel()).expect("written");
    std::fs::write(&initrd_path, b"initrd").expect("written");
    let (k, i) = (
        kernel_path.display().to_string(),
        initrd_path.display().to_string(),
    );
    let vm = Vm::with(&["-kernel", &k, "-initrd", &i, "-append", "quiet a=b", "-S"]).await;
    let machine = vm
        .provider()
        .await
        .describe()
        .await
        .expect("describes")
        .machine;
    let command_line = "quiet a=b".to_owned();
    assert_eq!(machine.firmware, Firmware::DirectKernel { command_line });
    let files: Vec<_> = machine
        .attachments
        .iter()
        .map(|file| (file.role, file.size))
        .collect();
    let expected = [
        (AttachmentRole::Kernel, 16 << 10),
        (AttachmentRole::Initrd, 6),
    ];
    assert_eq!(files, expected);
}

#[tokio::test]
async fn a_held_socket_and_a_missing_one_are_told_apart() {
    let vm = Vm::start().await;
    let limits = ConnectOptions {
        connect_limit: Duration::from_millis(300),
        ..ConnectOptions::default()
    };
    let holder = tresor_qmp::Client::connect(vm.path("qmp"), ConnectOptions::default()).await;
    let config = QemuConfig {
        limits,
        ..vm.config()
    };
    let held = QemuProvider::connect(config).await.expect_err("held");
    assert_eq!(held.kind(), ErrorKind::Busy);
    let source = std::error::Error::source(&held)
        .expect("says why")
        .to_string();
    assert!(source.contains("another client"), "{source}");
    drop(holder);
    let missing = QemuProvider::connect(QemuConfig::new(vm.path("no-such-socket"))).await;
    let source = missing.expect_err("missing");
    let source = std::error::Error::source(&source)
        .expect("says why")
        .to_string();
    assert!(source.contains("connect to the QMP socket"), "{source}");
}
