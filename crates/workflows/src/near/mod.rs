//! Whether a vault lies where the VMs' images lie: what kills one kills both.
//!
//! Looked for on this machine only: the file system, and the whole disks below it, through
//! partitions, device-mapper (LVM, LUKS), RAID and loop devices, as `/sys` shows them. What cannot be
//! seen (a file system in the network, a controller that joins disks) is not claimed.

mod devices;

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use tresor_model::{MachineDisk, StreamName};
use tresor_problem::Kind;

use devices::Devices;

/// An image that shares something with the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near {
    /// The disk of the VM.
    pub disk: StreamName,
    /// Its image.
    pub image: String,
    /// What both are on, in words.
    pub shared: String,
}

impl Near {
    /// As a warning.
    #[must_use]
    pub fn problem(self, vm: &str, vault: &Path) -> Kind {
        Kind::VaultNearDisk {
            location: vault.display().to_string(),
            vm: vm.to_owned(),
            disk: self.disk.to_string(),
            image: self.image,
            shared: self.shared,
        }
    }
}

/// The first of a VM's disks whose image lies where the vault lies. A vault in an object store has a
/// URL for a place, and is near nothing.
pub async fn near_disk(vault: &Path, disks: &[MachineDisk]) -> Option<Near> {
    let (vault, disks) = (vault.to_owned(), disks.to_vec());
    // A file system in the network may hang.
    let look = tokio::task::spawn_blocking(move || {
        let devices = Devices::of_this_machine();
        let vault = Place::of(&vault, &devices)?;
        disks.iter().find_map(|disk| {
            let image = disk.path.as_ref()?;
            let shared = vault.shares(&Place::of(&PathBuf::from(image), &devices)?)?;
            Some(Near {
                disk: disk.name.clone(),
                image: image.clone(),
                shared,
            })
        })
    });
    look.await.ok().flatten()
}

/// Where a file or directory lies.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// The file system's number; `None` for a block device, which is on none.
    file_system: Option<u64>,
    /// Names of whole disks.
    disks: BTreeSet<String>,
}

impl Place {
    /// `None` when it cannot be looked at.
    fn of(path: &Path, devices: &Devices) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        if meta.file_type().is_block_device() {
            return Some(Self {
                file_system: None,
                disks: devices.disks_of(meta.rdev()),
            });
        }
        let path = std::fs::canonicalize(path).ok()?;
        Some(Self {
            file_system: Some(meta.dev()),
            disks: devices.disks_below(meta.dev(), &path),
        })
    }

    /// What both are on.
    fn shares(&self, other: &Self) -> Option<String> {
        let common: Vec<_> = self.disks.intersection(&other.disks).cloned().collect();
        let named = match common.as_slice() {
            [] => String::new(),
            disks => format!(" ({})", disks.join(", ")),
        };
        if self.file_system.is_some() && self.file_system == other.file_system {
            return Some(format!("the same file system{named}"));
        }
        (!common.is_empty()).then(|| format!("the same disk{named}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(file_system: Option<u64>, disks: &[&str]) -> Place {
        Place {
            file_system,
            disks: disks.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn what_two_places_share() {
        let vault = place(Some(1), &["sda", "sdb"]);
        for (other, want) in [
            (
                place(Some(1), &["sda", "sdb"]),
                Some("the same file system (sda, sdb)"),
            ),
            // As of a file system in the network.
            (place(Some(1), &[]), Some("the same file system")),
            (place(Some(2), &["sdb", "sdc"]), Some("the same disk (sdb)")),
            // An image that is a logical volume.
            (place(None, &["sda"]), Some("the same disk (sda)")),
            (place(Some(2), &["sdc"]), None),
            (place(None, &[]), None),
        ] {
            assert_eq!(vault.shares(&other).as_deref(), want, "{other:?}");
        }
        assert_eq!(place(None, &[]).shares(&place(None, &[])), None);
    }

    #[test]
    fn two_files_of_one_directory_are_near() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("image");
        std::fs::write(&file, "x").expect("written");
        let devices = Devices::of_this_machine();
        let (dir, file) = (Place::of(dir.path(), &devices), Place::of(&file, &devices));
        let shared = dir.expect("a place").shares(&file.expect("a place"));
        assert!(shared.is_some_and(|shared| shared.starts_with("the same file system")));
        assert_eq!(Place::of(Path::new("/nowhere/at/all"), &devices), None);
    }
}
