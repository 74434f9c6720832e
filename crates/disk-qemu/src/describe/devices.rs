//! Disks and network cards: names, what QEMU tells of them, and what is left out.

use std::collections::BTreeSet;

use serde_json::Value;
use tresor_disk::Error;
use tresor_model::{MachineDisk, NetworkCard, StreamName};
use tresor_qmp::{
    Client,
    commands::object::{QomGet, QomList},
};

use super::{bypass, exclusion::exclusion, identity::image_identity};
use crate::{
    failure,
    layout::{Disk, Layout},
};

/// Where devices live that have an id, and those that have none.
pub(super) const WITH_ID: &str = "/machine/peripheral";
pub(super) const WITHOUT_ID: &str = "/machine/peripheral-anon";
/// virtio-blk has its drive in this child of the device.
const VIRTIO_CHILD: &str = "/virtio-backend";
/// Most devices that are looked at.
pub(super) const MAX_DEVICES: usize = 4096;

/// A disk with the name users know it by.
#[derive(Debug, Clone)]
pub(crate) struct NamedDisk {
    pub(crate) name: StreamName,
    /// QOM path of the front end.
    pub(crate) device: String,
    /// The front end's class (`virtio-blk-pci`).
    pub(crate) front_end: String,
    /// The I/O thread that serves it.
    pub(crate) iothread: Option<String>,
    /// Whether others than this VM may write to it (`share-rw=on`).
    pub(crate) shared: bool,
    pub(crate) disk: Disk,
}

/// The QOM path of a front end that QEMU names by id or by path.
pub(crate) fn device_path(qdev: &str) -> String {
    if qdev.starts_with('/') {
        qdev.to_owned()
    } else {
        format!("{WITH_ID}/{qdev}")
    }
}

/// The device as users know it, without virtio's inner parts.
fn front_end_path(device: &str) -> &str {
    device.strip_suffix(VIRTIO_CHILD).unwrap_or(device)
}

/// Whether the drive is the machine's flash: firmware, not a disk.
pub(super) fn is_flash(disk: &Disk) -> bool {
    disk.qdev.starts_with("/machine/") && disk.qdev.contains("flash")
        || disk
            .backend
            .as_deref()
            .is_some_and(|name| name.starts_with("pflash"))
}

/// The I/O thread of a device, or of the controller it hangs on (SCSI).
async fn iothread_of(client: &Client, front_end: &str) -> Result<Option<String>, Error> {
    let mut iothread = text(client, front_end, "iothread").await?;
    if iothread.is_none()
        && let Some(bus) = text(client, front_end, "parent_bus").await?
    {
        iothread = text(client, &controller_path(&bus), "iothread").await?;
    }
    Ok(iothread.map(|path| path.trim_start_matches("/objects/").to_owned()))
}

/// The device that a bus belongs to: `/machine/peripheral/ID` of `/machine/peripheral/ID/…`.
fn controller_path(bus: &str) -> String {
    bus.split('/').take(4).collect::<Vec<_>>().join("/")
}

/// All disks (not flash, not empty drives) with their names.
pub(crate) async fn named_disks(client: &Client, layout: &Layout) -> Result<Vec<NamedDisk>, Error> {
    let mut taken = BTreeSet::new();
    let mut named = Vec::new();
    for disk in layout.disks().filter(|disk| !is_flash(disk)) {
        let device = device_path(&disk.qdev);
        let serial = text(client, front_end_path(&device), "serial").await?;
        let iothread = iothread_of(client, front_end_path(&device)).await?;
        let class = text(client, front_end_path(&device), "type").await?;
        let shared = get(client, front_end_path(&device), "share-rw").await?;
        let name = choose_name(
            &device,
            disk.backend.as_deref(),
            serial.as_deref(),
            &mut taken,
        );
        named.extend(name.map(|name| NamedDisk {
            name,
            device,
            front_end: class.unwrap_or_default(),
            iothread,
            shared: shared.and_then(|value| value.as_bool()).unwrap_or(false),
            disk,
        }));
    }
    Ok(named)
}

/// The qdev id, else the back end's name, else the serial number, else the place among devices
/// without id: the first that is a valid name and still free.
pub(super) fn choose_name(
    device: &str,
    backend: Option<&str>,
    serial: Option<&str>,
    taken: &mut BTreeSet<StreamName>,
) -> Option<StreamName> {
    let front_end = front_end_path(device);
    let id = front_end
        .strip_prefix(WITH_ID)
        .and_then(|rest| rest.strip_prefix('/'));
    let place = || {
        let digits: String = front_end.chars().filter(char::is_ascii_digit).collect();
        format!("disk{digits}")
    };
    let candidates = [id, backend, serial]
        .into_iter()
        .flatten()
        .map(str::to_owned);
    let numbered = (2..MAX_DEVICES).map(|number| format!("{}-{number}", place()));
    let name = candidates
        .chain([place()])
        .chain(numbered)
        .filter_map(|text| StreamName::new(text).ok())
        .find(|name| !taken.contains(name))?;
    taken.insert(name.clone());
    Some(name)
}

/// All disks as the machine definition lists them.
pub(super) async fn machine_disks(
    client: &Client,
    layout: &Layout,
) -> Result<Vec<MachineDisk>, Error> {
    let mut disks = Vec::new();
    let version = &client.greeting().version;
    for named in named_disks(client, layout).await? {
        let excluded = exclusion(&named, version, false);
        let image = image_identity(client.peer(), &named.disk).await;
        let NamedDisk {
            name,
            device,
            front_end,
            iothread,
            shared,
            disk,
        } = named;
        let path = front_end_path(&device);
        let boot_index = get(client, path, "bootindex").await?;
        disks.push(MachineDisk {
            name,
            front_end,
            serial: text(client, path, "serial").await?,
            boot_index: boot_index
                .and_then(|index| index.as_u64())
                .and_then(|index| u32::try_from(index).ok()),
            iothread,
            size: disk.size,
            shared,
            image: image.ok(), // where it cannot be looked at, the snapshot says so
            excluded,
            path: match &disk.file {
                Some(file) => {
                    let path = super::process::resolve(client.peer().pid, file).await;
                    Some(path.display().to_string())
                }
                None => None,
            },
            format: disk.format,
            read_only: disk.read_only,
        });
    }
    disks.extend(empty_drives(client, layout, &disks).await?);
    disks.extend(bypass::find(client, &disks).await?);
    Ok(disks)
}

/// Drives without a medium (CD-ROM): part of the machine, nothing to back up.
async fn empty_drives(
    client: &Client,
    layout: &Layout,
    disks: &[MachineDisk],
) -> Result<Vec<MachineDisk>, Error> {
    let mut taken: BTreeSet<StreamName> = disks.iter().map(|disk| disk.name.clone()).collect();
    let mut empty = Vec::new();
    for drive in layout
        .drives()
        .iter()
        .filter(|drive| drive.inserted.is_none())
    {
        let Some(qdev) = &drive.qdev else { continue };
        let device = device_path(qdev);
        let path = front_end_path(&device);
        let backend = Some(drive.device.as_str()).filter(|name| !name.is_empty());
        let Some(name) = choose_name(&device, backend, None, &mut taken) else {
            continue;
        };
        empty.push(MachineDisk {
            name,
            front_end: text(client, path, "type").await?.unwrap_or_default(),
            serial: text(client, path, "serial").await?,
            boot_index: None,
            iothread: None,
            size: 0,
            format: "none".to_owned(),
            path: None,
            read_only: true,
            shared: false,
            image: None,
            excluded: Some("there is no medium in it".to_owned()),
        });
    }
    Ok(empty)
}

/// The machine type without QEMU's suffix.
pub(super) async fn machine_type(client: &Client) -> Result<String, Error> {
    let class = text(client, "/machine", "type").await?.unwrap_or_default();
    Ok(class.strip_suffix("-machine").unwrap_or(&class).to_owned())
}

/// Network cards that were given on the command line or plugged in, in bus order.
pub(super) async fn network_cards(client: &Client) -> Result<Vec<NetworkCard>, Error> {
    let mut cards = Vec::new();
    for parent in [WITH_ID, WITHOUT_ID] {
        let path = parent.to_owned();
        let devices = client.run(&QomList { path }).await;
        // A machine without any such device has no such container.
        let Ok(devices) = devices else { continue };
        for device in devices.into_iter().take(MAX_DEVICES) {
            let path = format!("{parent}/{}", device.name);
            let Some(model) = device.child_class() else {
                continue;
            };
            let Some(backend) = text(client, &path, "netdev").await? else {
                continue;
            };
            let address = text(client, &path, "addr").await?;
            let card = NetworkCard {
                model: model.to_owned(),
                mac: text(client, &path, "mac").await?,
                backend: Some(backend),
            };
            cards.push((address, device.name, card));
        }
    }
    cards.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    Ok(cards.into_iter().map(|(_, _, card)| card).collect())
}

/// A property, when the device has it.
async fn get(client: &Client, path: &str, property: &str) -> Result<Option<Value>, Error> {
    let get = QomGet {
        path: path.to_owned(),
        property: property.to_owned(),
    };
    match client.run(&get).await {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_refusal() => Ok(None),
        Err(error) => Err(failure::qmp("look at a device")(error)),
    }
}

/// A text property, when the device has it and it is not empty.
pub(super) async fn text(
    client: &Client,
    path: &str,
    property: &str,
) -> Result<Option<String>, Error> {
    let value = get(client, path, property).await?;
    let text = value.and_then(|value| value.as_str().map(str::to_owned));
    Ok(text.filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(device: &str, backend: Option<&str>, serial: Option<&str>) -> String {
        let name = choose_name(device, backend, serial, &mut BTreeSet::new());
        name.expect("there is always one").to_string()
    }

    #[test]
    fn the_id_names_a_disk_else_the_next_best() {
        let anon = "/machine/peripheral-anon/device[3]/virtio-backend";
        assert_eq!(
            name("/machine/peripheral/vda/virtio-backend", None, Some("S1")),
            "vda"
        );
        assert_eq!(name(anon, Some("virtio0"), Some("S1")), "virtio0");
        assert_eq!(name(anon, None, Some("S1")), "S1");
        assert_eq!(name(anon, None, Some("not a/name")), "disk3");
    }

    #[test]
    fn a_bus_leads_to_its_controller() {
        let bus = "/machine/peripheral-anon/device[0]/virtio-backend/virtio-scsi.0";
        assert_eq!(controller_path(bus), "/machine/peripheral-anon/device[0]");
    }

    #[test]
    fn no_two_disks_have_one_name() {
        let mut taken = BTreeSet::new();
        let device = "/machine/peripheral-anon/device[3]";
        let names: Vec<String> = (0..3)
            .filter_map(|_| choose_name(device, None, Some("same"), &mut taken))
            .map(|name| name.to_string())
            .collect();
        assert_eq!(names, ["same", "disk3", "disk3-2"]);
    }
}
