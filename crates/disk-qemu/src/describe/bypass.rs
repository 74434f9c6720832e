//! Devices that hold data which never passes QEMU's block layer: no snapshot can have it. They are
//! told, because a restore would miss it.

use std::{collections::BTreeSet, path::Path};

use tresor_disk::Error;
use tresor_model::{MachineDisk, StreamName};
use tresor_qmp::{
    Client,
    commands::object::{Property, QomList},
};

use super::devices::{self, WITH_ID, WITHOUT_ID};

/// Beginnings of device classes, each with why its data is not backed up.
const BYPASSING: [(&str, &str); 7] = [
    (
        "vhost-user-blk",
        "another process serves it (vhost-user), and QEMU does not see what is written",
    ),
    (
        "vhost-user-scsi",
        "another process serves it (vhost-user), and QEMU does not see what is written",
    ),
    (
        "vhost-scsi",
        "the kernel serves it (vhost), and QEMU does not see what is written",
    ),
    (
        "vhost-vdpa-device",
        "a device of the host serves it (vDPA), and QEMU does not see what is written",
    ),
    (
        "vhost-user-fs",
        "it is a directory of the host (virtiofs), not a disk: back it up there",
    ),
    (
        "virtio-9p",
        "it is a directory of the host (9p), not a disk: back it up there",
    ),
    (
        VFIO,
        "it is a storage device of the host, handed through (VFIO)",
    ),
];
/// PCI devices of any kind.
const VFIO: &str = "vfio-pci";
/// Where the kernel tells of PCI devices.
const PCI_DEVICES: &str = "/sys/bus/pci/devices";

/// All such devices, as disks that are left out.
pub(super) async fn find(
    client: &Client,
    disks: &[MachineDisk],
) -> Result<Vec<MachineDisk>, Error> {
    let mut taken: BTreeSet<StreamName> = disks.iter().map(|disk| disk.name.clone()).collect();
    let mut found = Vec::new();
    for parent in [WITH_ID, WITHOUT_ID] {
        let path = parent.to_owned();
        // A machine without any such device has no such container.
        let Ok(children) = client.run(&QomList { path }).await else {
            continue;
        };
        for child in children.into_iter().take(devices::MAX_DEVICES) {
            let Some((class, reason)) = bypassing(&child) else {
                continue;
            };
            let device = format!("{parent}/{}", child.name);
            let host = devices::text(client, &device, "host").await?;
            if class.starts_with(VFIO) && !is_storage(host.as_deref()).await {
                continue;
            }
            let Some(name) = devices::choose_name(&device, None, None, &mut taken) else {
                continue;
            };
            found.push(left_out(name, class, host, reason));
        }
    }
    Ok(found)
}

fn bypassing(child: &Property) -> Option<(&str, &'static str)> {
    let class = child.child_class()?;
    let known = BYPASSING.iter().find(|(start, _)| class.starts_with(start));
    known.map(|(_, reason)| (class, *reason))
}

fn left_out(name: StreamName, class: &str, host: Option<String>, reason: &str) -> MachineDisk {
    MachineDisk {
        name,
        front_end: class.to_owned(),
        serial: None,
        boot_index: None,
        iothread: None,
        size: 0,
        format: "unknown".to_owned(),
        path: host,
        read_only: false,
        shared: false,
        image: None,
        excluded: Some(reason.to_owned()),
    }
}

/// Whether a PCI device of the host keeps data. One that cannot be looked at may.
async fn is_storage(host: Option<&str>) -> bool {
    let Some(host) = host else { return true };
    // An address, and not a way out of the directory.
    if !host
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
    {
        return true;
    }
    let class = Path::new(PCI_DEVICES).join(host).join("class");
    let class = tokio::fs::read_to_string(class).await;
    class.map_or(true, |class| is_storage_class(&class))
}

/// Class 1 is mass storage (PCI Code and ID Assignment Specification), `0x010802` an NVM Express disk.
fn is_storage_class(class: &str) -> bool {
    class.trim().starts_with("0x01")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(kind: &str) -> Property {
        Property {
            name: "x".to_owned(),
            kind: kind.to_owned(),
        }
    }

    #[test]
    fn what_passes_qemu_by_is_known_by_its_class() {
        for (kind, expected) in [
            ("child<vhost-user-blk-pci>", true),
            ("child<virtio-9p-pci>", true),
            ("child<vfio-pci>", true),
            ("child<vfio-pci-nohotplug>", true),
            ("child<virtio-blk-pci>", false),
            ("child<virtio-net-pci>", false),
            ("link<vhost-user-blk-pci>", false),
        ] {
            assert_eq!(bypassing(&child(kind)).is_some(), expected, "{kind}");
        }
    }

    #[tokio::test]
    async fn a_device_handed_through_is_told_when_it_may_keep_data() {
        assert!(is_storage_class("0x010802\n") && !is_storage_class("0x030000\n"));
        assert!(is_storage(None).await);
        assert!(is_storage(Some("../../../etc")).await);
        assert!(is_storage(Some("ffff:ff:1f.7")).await, "not there");
    }
}
