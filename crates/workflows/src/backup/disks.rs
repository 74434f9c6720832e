//! Which disks a backup reads, what each is compared with, what is left out. Pure.

use std::collections::{BTreeMap, BTreeSet};

use tresor_disk::{DiskRequest, PreviousPoint};
use tresor_model::{DiskRecord, MachineDisk, RecoveryPoint, StreamName};

use super::BackupRequest;

/// A disk to back up.
#[derive(Debug)]
pub(super) struct ChosenDisk {
    pub(super) request: DiskRequest,
    /// Its name in the parent, where it is there.
    pub(super) base: Option<StreamName>,
}

/// Leaves out what the registration leaves out, and takes in what it takes in.
pub(super) fn apply_policy(disks: &mut [MachineDisk], request: &BackupRequest) {
    for disk in disks {
        if disk.shared && request.order.included.contains(&disk.name) {
            disk.excluded = None;
        }
        if disk.excluded.is_none() && request.order.excluded.contains(&disk.name) {
            disk.excluded = Some("left out by its registration".to_owned());
        }
    }
}

/// The disks to snapshot, each with what the last point knows of it: of the same image, whatever it
/// was called then (devices without an id change their names when others come and go), else of the
/// same name.
pub(super) fn choose_disks(
    disks: &[MachineDisk],
    parent: Option<&RecoveryPoint>,
) -> Vec<ChosenDisk> {
    choose_among(disks, parent.map_or(&[], |parent| &parent.disks))
}

fn choose_among(disks: &[MachineDisk], records: &[DiskRecord]) -> Vec<ChosenDisk> {
    let chosen: Vec<&MachineDisk> = disks
        .iter()
        .filter(|disk| disk.excluded.is_none())
        .collect();
    let by_image: Vec<Option<&DiskRecord>> = chosen
        .iter()
        .map(|disk| same_image(disk, &chosen, records))
        .collect();
    let claimed: BTreeSet<&StreamName> = by_image
        .iter()
        .flatten()
        .map(|record| &record.stream.name)
        .collect();
    let record_of = |disk: &MachineDisk, same_image: Option<&'_ DiskRecord>| {
        let named = records
            .iter()
            .find(|record| record.stream.name == disk.name);
        let free = named.filter(|record| !claimed.contains(&record.stream.name));
        same_image.or(free).map(|record| {
            let previous = PreviousPoint {
                tracking: record.tracking.clone(),
            };
            (record.stream.name.clone(), previous)
        })
    };
    let with_previous = chosen.iter().zip(&by_image).map(|(disk, same_image)| {
        let (base, previous) = record_of(disk, *same_image).unzip();
        ChosenDisk {
            request: DiskRequest {
                name: disk.name.clone(),
                previous,
                shared: disk.shared,
            },
            base,
        }
    });
    with_previous.collect()
}

/// The only record of the disk's image, when no other disk has that image.
fn same_image<'a>(
    disk: &MachineDisk,
    disks: &[&MachineDisk],
    records: &'a [DiskRecord],
) -> Option<&'a DiskRecord> {
    let image = disk.image.as_ref()?;
    let twins = disks
        .iter()
        .filter(|other| other.image.as_ref() == Some(image));
    let mut found = records
        .iter()
        .filter(|record| record.tracking.image == *image);
    let first = found.next()?;
    (twins.count() == 1 && found.next().is_none()).then_some(first)
}

/// Name of each disk in the parent.
pub(super) fn bases(chosen: &[ChosenDisk]) -> BTreeMap<StreamName, StreamName> {
    let known = chosen.iter().filter_map(|disk| {
        let base = disk.base.clone()?;
        Some((disk.request.name.clone(), base))
    });
    known.collect()
}

/// What a restore would miss, or get only in part.
pub(super) fn warnings(disks: &[MachineDisk]) -> Vec<String> {
    let told = disks.iter().filter_map(|disk| {
        let name = &disk.name;
        match &disk.excluded {
            // An empty drive, or a medium like a CD-ROM, is no data of the VM.
            Some(_) if disk.format == "none" || (disk.read_only && !disk.shared) => None,
            Some(reason) => Some(format!(
                "disk {name} is not in the recovery point: {reason}"
            )),
            None if disk.shared => Some(format!(
                "disk {name} is shared: what others wrote while it was read is in the recovery \
                 point in part"
            )),
            None => None,
        }
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use tresor_model::{JobId, ReadMode, SnapshotTag, StreamRecord, TrackingLedger};

    use super::*;

    fn name(text: &str) -> StreamName {
        StreamName::new(text).expect("valid")
    }

    fn disk(text: &str, image: Option<&str>) -> MachineDisk {
        MachineDisk {
            name: name(text),
            front_end: "virtio-blk-pci".to_owned(),
            serial: None,
            boot_index: None,
            iothread: None,
            size: 1 << 20,
            format: "qcow2".to_owned(),
            path: None,
            read_only: false,
            shared: false,
            image: image.map(str::to_owned),
            excluded: None,
        }
    }

    fn record(text: &str, image: &str) -> DiskRecord {
        DiskRecord {
            stream: StreamRecord {
                name: name(text),
                size: 1 << 20,
                root: None,
            },
            read_mode: ReadMode::Full {
                reason: String::new(),
            },
            tracking: TrackingLedger {
                bitmap: None,
                tag: SnapshotTag::of_job(JobId::generate()),
                granularity: 65536,
                persistent: true,
                image: image.to_owned(),
                size: 1 << 20,
                signs: tresor_model::TrackingSigns::default(),
            },
            stats: tresor_model::DiskStats::default(),
            reread: None,
        }
    }

    /// Disks now, records of the parent, and for each disk the record that it is compared with.
    #[test]
    fn a_disk_is_known_by_its_image_first_and_by_its_name_second() {
        type Now<'a> = &'a [(&'a str, Option<&'a str>)];
        type Then<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Now<'_>, Then<'_>, &[Option<&str>]); 7] = [
            // As it was.
            (&[("a", Some("1"))], &[("a", "1")], &[Some("a")]),
            // Renumbered: a disk was added before.
            (
                &[("disk0", Some("9")), ("disk1", Some("1"))],
                &[("disk0", "1")],
                &[None, Some("disk0")],
            ),
            // Swapped.
            (
                &[("a", Some("2")), ("b", Some("1"))],
                &[("a", "1"), ("b", "2")],
                &[Some("b"), Some("a")],
            ),
            // A new image under the old name: the judgement says that it was replaced.
            (&[("a", Some("7"))], &[("a", "1")], &[Some("a")]),
            // A definition of an older release, or an image that cannot be looked at.
            (&[("a", None)], &[("a", "1")], &[Some("a")]),
            // One image in two disks: nothing can be told by it.
            (
                &[("a", Some("1")), ("b", Some("1"))],
                &[("a", "1"), ("b", "1")],
                &[Some("a"), Some("b")],
            ),
            // Added.
            (&[("a", Some("1"))], &[], &[None]),
        ];
        for (now, then, expected) in cases {
            let disks: Vec<_> = now.iter().map(|(name, image)| disk(name, *image)).collect();
            let records: Vec<_> = then
                .iter()
                .map(|(name, image)| record(name, image))
                .collect();
            let chosen = choose_among(&disks, &records);
            let found: Vec<_> = chosen
                .iter()
                .map(|disk| disk.base.as_ref().map(StreamName::as_str))
                .collect();
            assert_eq!(found, expected, "{now:?} after {then:?}");
        }
    }

    #[test]
    fn what_a_restore_would_miss_is_warned_of() {
        let mut shared = disk("s", None);
        shared.shared = true;
        let mut left_out = shared.clone();
        left_out.excluded = Some("it is shared".to_owned());
        let mut medium = disk("cd", None);
        (medium.read_only, medium.excluded) = (true, Some("a CD-ROM".to_owned()));
        let mut empty = disk("e", None);
        (empty.format, empty.excluded) = ("none".to_owned(), Some("no medium".to_owned()));
        let disks = [disk("a", None), shared, left_out, medium, empty];
        let texts = warnings(&disks);
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].contains("in part") && texts[1].contains("not in the recovery point"));
    }
}
