//! From a device to the whole disks below it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Layers of devices on each other that are followed: no machine has so many.
const MAX_DEPTH: usize = 16;

/// What the kernel shows of block devices and mounts.
pub(super) struct Devices {
    sys: PathBuf,
    mounts: PathBuf,
}

impl Devices {
    pub(super) fn of_this_machine() -> Self {
        Self {
            sys: "/sys".into(),
            mounts: "/proc/self/mountinfo".into(),
        }
    }

    /// The whole disks below the file system that has this number and holds this path.
    pub(super) fn disks_below(&self, number: u64, path: &Path) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.file_system(number, path, MAX_DEPTH, &mut found);
        found
    }

    /// The whole disks below a block device.
    pub(super) fn disks_of(&self, number: u64) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        if let Some(device) = self.device(number) {
            self.device_below(&device, MAX_DEPTH, &mut found);
        }
        found
    }

    fn file_system(&self, number: u64, path: &Path, depth: usize, found: &mut BTreeSet<String>) {
        if depth == 0 {
            return;
        }
        if let Some(device) = self.device(number) {
            return self.device_below(&device, depth, found);
        }
        // btrfs, ZFS and overlays have numbers of their own: the mount says what is below.
        let mounts = fs::read_to_string(&self.mounts).unwrap_or_default();
        let Some(source) = source_of(&mounts, path) else {
            return;
        };
        let number = fs::metadata(source).ok().map(|meta| meta.rdev());
        if let Some(device) = number.and_then(|number| self.device(number)) {
            self.device_below(&device, depth, found);
        }
    }

    /// The directory of a block device in `/sys`.
    fn device(&self, number: u64) -> Option<PathBuf> {
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let link = self.sys.join(format!("dev/block/{major}:{minor}"));
        fs::canonicalize(link).ok()
    }

    fn device_below(&self, device: &Path, depth: usize, found: &mut BTreeSet<String>) {
        if depth == 0 {
            return;
        }
        // A partition is a directory in that of its disk.
        if device.join("partition").exists()
            && let Some(disk) = device.parent()
        {
            return self.device_below(disk, depth - 1, found);
        }
        if let Ok(file) = fs::read_to_string(device.join("loop/backing_file")) {
            let file = Path::new(file.trim_end());
            if let Ok(meta) = fs::metadata(file) {
                self.file_system(meta.dev(), file, depth - 1, found);
            }
            return;
        }
        let slaves = fs::read_dir(device.join("slaves")).into_iter().flatten();
        let slaves: Vec<_> = slaves.flatten().collect();
        for slave in &slaves {
            if let Ok(below) = fs::canonicalize(slave.path()) {
                self.device_below(&below, depth - 1, found);
            }
        }
        if slaves.is_empty()
            && let Some(name) = device.file_name()
        {
            found.insert(name.to_string_lossy().into_owned());
        }
    }
}

/// The device in the line of the mount that holds a path: the last of those with the longest mount
/// point, which hides the others. Format: proc(5), `/proc/PID/mountinfo`.
fn source_of<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let (head, tail) = line.split_once(" - ")?;
        let point = head.split(' ').nth(4)?;
        let point = point.replace("\\040", " ");
        let long = point.len();
        if path.starts_with(&point) && best.is_none_or(|(best, _)| long >= best) {
            best = Some((long, tail.split(' ').nth(1)?));
        }
    }
    best.map(|(_, source)| source)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A `/sys` with an LVM volume on LUKS on a partition and on a RAID of two disks, and a disk.
    struct Machine(TempDir);

    impl Machine {
        fn new() -> Self {
            let machine = Self(tempfile::tempdir().expect("a directory"));
            for (number, device, slaves) in [
                ("8:0", "pci/sda", &[][..]),
                ("8:1", "pci/sda/sda1", &[]),
                ("8:16", "pci/sdb", &[]),
                ("8:32", "pci/sdc", &[]),
                ("9:0", "virtual/md0", &["pci/sdb", "pci/sdc"]),
                ("252:0", "virtual/dm-0", &["pci/sda/sda1"]),
                ("252:1", "virtual/dm-1", &["virtual/dm-0", "virtual/md0"]),
                ("8:48", "pci/sdd", &[]),
            ] {
                let dir = machine.0.path().join("devices").join(device);
                fs::create_dir_all(dir.join("slaves")).expect("made");
                for slave in slaves {
                    let below = machine.0.path().join("devices").join(slave);
                    let name = Path::new(slave).file_name().expect("a name");
                    symlink(below, dir.join("slaves").join(name)).expect("linked");
                }
                let links = machine.0.path().join("dev/block");
                fs::create_dir_all(&links).expect("made");
                symlink(dir, links.join(number)).expect("linked");
            }
            let partition = "devices/pci/sda/sda1/partition";
            fs::write(machine.0.path().join(partition), "1\n").expect("written");
            machine
        }

        fn disks(&self, major: u32, minor: u32) -> Vec<String> {
            let devices = Devices {
                sys: self.0.path().to_owned(),
                mounts: "/nowhere".into(),
            };
            let number = rustix::fs::makedev(major, minor);
            devices.disks_of(number).into_iter().collect()
        }
    }

    #[test]
    fn whole_disks_are_found_through_every_layer() {
        let machine = Machine::new();
        assert_eq!(machine.disks(8, 48), ["sdd"]);
        assert_eq!(machine.disks(8, 1), ["sda"]);
        assert_eq!(machine.disks(9, 0), ["sdb", "sdc"]);
        assert_eq!(machine.disks(252, 0), ["sda"]);
        assert_eq!(machine.disks(252, 1), ["sda", "sdb", "sdc"]);
        assert!(machine.disks(7, 7).is_empty(), "nobody knows it");
    }

    /// A ring of devices is no machine, and must not hang ours.
    #[test]
    fn a_ring_ends() {
        let machine = Machine::new();
        let disk = machine.0.path().join("devices/pci/sdd");
        symlink(
            machine.0.path().join("devices/virtual/dm-9"),
            disk.join("slaves/dm-9"),
        )
        .expect("linked");
        let ring = machine.0.path().join("devices/virtual/dm-9/slaves");
        fs::create_dir_all(&ring).expect("made");
        symlink(&disk, ring.join("sdd")).expect("linked");
        assert!(machine.disks(8, 48).is_empty());
    }

    #[test]
    fn the_mount_that_holds_a_path() {
        let mounts = "\
22 1 0:30 / / rw,relatime shared:1 - btrfs /dev/sda2 rw,subvol=/root
23 22 0:30 /home /home rw - btrfs /dev/sda3 rw
24 22 0:40 / /srv/vm\\040images rw - zfs tank/vm rw
25 22 0:41 / /home rw - btrfs /dev/sdb1 rw
";
        for (path, want) in [
            ("/var/lib/x", Some("/dev/sda2")),
            ("/home/x", Some("/dev/sdb1")),
            ("/homes", Some("/dev/sda2")),
            ("/srv/vm images/a", Some("tank/vm")),
            ("relative", None),
        ] {
            assert_eq!(source_of(mounts, Path::new(path)), want, "{path}");
        }
        assert_eq!(source_of("nonsense", Path::new("/")), None);
    }
}
