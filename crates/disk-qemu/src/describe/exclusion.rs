//! Which disks are backed up, which are left out and why, which cannot be tracked. Pure.

use tresor_qmp::Version;

use super::NamedDisk;

/// The first major version whose NBD server may serve a disk of an I/O thread: 7.2.22 was seen to
/// abort, and the VM with it, when a client of such an export leaves.
const SAFE_WITH_IOTHREAD: u32 = 9;

/// Front ends that hand SCSI commands through: what the guest writes passes QEMU's block layer by,
/// so that no filter and no bitmap sees it.
const HANDED_THROUGH: [&str; 2] = ["scsi-generic", "scsi-block"];

/// Why a disk is not backed up; `None` when it is. `shared`: also when others may write to it.
pub(crate) fn exclusion(named: &NamedDisk, version: &Version, shared: bool) -> Option<String> {
    if named.disk.read_only && named.disk.removable {
        return Some(
            "it is a CD-ROM or the like: a medium that the guest can only read".to_owned(),
        );
    }
    if HANDED_THROUGH.contains(&named.front_end.as_str()) {
        let front_end = &named.front_end;
        let reason = "its SCSI commands are handed through, and QEMU does not see what is written";
        return Some(format!("{reason} ({front_end})"));
    }
    if named.shared && !shared {
        return Some(SHARED.to_owned());
    }
    if named.disk.size == 0 {
        return Some("it has no content".to_owned());
    }
    let iothread = named.iothread.as_ref()?;
    (version.major < SAFE_WITH_IOTHREAD).then(|| {
        format!(
            "QEMU {version} can abort when the disk of an I/O thread ({iothread}) is exported: \
             use QEMU {SAFE_WITH_IOTHREAD} or later, or take the disk off the I/O thread"
        )
    })
}

/// Why a disk that may be shared is left out.
const SHARED: &str = "it is shared (share-rw=on): others may write to it, which no snapshot of \
                      this VM holds still; `tresor vm add --include DISK` backs it up nevertheless";

/// Why nobody can tell what changed on a disk; `None` when QEMU can, because all writes are its.
pub(crate) fn untracked(named: &NamedDisk) -> Option<String> {
    let reason = if named.shared {
        "it is shared: others may have written to it"
    } else if named.disk.read_only {
        "the guest can only read it, and nothing tells whether somebody else changed it"
    } else {
        return None;
    };
    Some(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use tresor_model::StreamName;

    use super::*;

    fn plain() -> NamedDisk {
        let disk = crate::layout::tests::recorded().disks().next();
        NamedDisk {
            name: StreamName::new("vda").expect("valid"),
            device: "/machine/peripheral/vda".to_owned(),
            front_end: "virtio-blk-pci".to_owned(),
            iothread: None,
            shared: false,
            disk: disk.expect("recorded"),
        }
    }

    fn version(major: u32) -> Version {
        Version {
            major,
            minor: 2,
            micro: 22,
            package: String::new(),
        }
    }

    #[test]
    fn a_disk_of_an_io_thread_needs_a_qemu_that_survives_it() {
        let mut named = plain();
        named.iothread = Some("io0".to_owned());
        let reason = exclusion(&named, &version(7), false).expect("excluded");
        assert!(
            reason.contains("7.2.22") && reason.contains("io0"),
            "{reason}"
        );
        assert_eq!(exclusion(&named, &version(9), false), None);
        named.iothread = None;
        assert_eq!(exclusion(&named, &version(7), false), None);
    }

    #[test]
    fn what_is_left_out_is_said_with_its_reason() {
        type Change = fn(&mut NamedDisk);
        let cases: [(Change, Option<&str>); 5] = [
            (|_| (), None),
            (|named| named.disk.read_only = true, None),
            (
                |named| (named.disk.read_only, named.disk.removable) = (true, true),
                Some("CD-ROM"),
            ),
            (|named| named.shared = true, Some("--include")),
            (
                |named| named.front_end = "scsi-generic".to_owned(),
                Some("handed through"),
            ),
        ];
        for (change, word) in cases {
            let mut named = plain();
            change(&mut named);
            let reason = exclusion(&named, &version(10), false);
            match word {
                None => assert_eq!(reason, None),
                Some(word) => assert!(reason.as_ref().is_some_and(|why| why.contains(word))),
            }
            let told = exclusion(&named, &version(10), true);
            assert!(!named.shared || told.is_none());
            assert_eq!(
                untracked(&named).is_some(),
                named.shared || named.disk.read_only
            );
        }
    }
}
