//! The names of what a snapshot leaves, and back from a name to what it is. Pure.

use std::path::{Path, PathBuf};

use tresor_model::{SnapshotTag, VmId};

/// What a block node of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Shows the disk as it was.
    Snapshot,
    /// The copy-before-write filter.
    Filter,
    /// The fleecing image.
    Fleecing,
    /// Limits the fleecing image's size.
    Limit,
    /// The fleecing file.
    File,
}

impl Role {
    /// All of them, users before what they use: the order of removal.
    pub(crate) const ALL: [Self; 5] = [
        Self::Snapshot,
        Self::Filter,
        Self::Fleecing,
        Self::Limit,
        Self::File,
    ];

    fn letter(self) -> &'static str {
        match self {
            Self::Snapshot => "s",
            Self::Filter => "c",
            Self::Fleecing => "f",
            Self::Limit => "r",
            Self::File => "p",
        }
    }
}

/// Name of the node of disk number `index`.
pub(crate) fn node(tag: &SnapshotTag, role: Role, index: usize) -> String {
    tag.name(&format!("{}{index}", role.letter()))
}

/// What the node with this name is for, when it is one of ours.
pub(crate) fn role_of(name: &str) -> Option<(SnapshotTag, Role)> {
    let tag = SnapshotTag::of_name(name)?;
    let what = name.strip_prefix(tag.as_str())?.strip_prefix('-')?;
    let role = Role::ALL.into_iter().find(|role| {
        what.strip_prefix(role.letter())
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    })?;
    Some((tag, role))
}

/// Id of the export of disk number `index`, and its name on the NBD server.
pub(crate) fn export(tag: &SnapshotTag, index: usize) -> String {
    tag.name(&format!("e{index}"))
}

/// Id of the job that formats the fleecing image of disk number `index`.
pub(crate) fn format_job(tag: &SnapshotTag, index: usize) -> String {
    tag.name(&format!("j{index}"))
}

/// Id of the object that exists while we hold the VM stopped.
pub(crate) fn stop_mark(tag: &SnapshotTag) -> String {
    tag.name("stop")
}

/// What a new bitmap follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Follows {
    /// Nothing: the first one of this disk, or none is left.
    Nothing,
    /// The changes listed by this tag's bitmap were read. Abandoned, the two are merged.
    Continues(SnapshotTag),
    /// This tag's bitmap could not be trusted. Committed, it is removed.
    Replaces(SnapshotTag),
}

impl Follows {
    /// The tag of the bitmap before.
    pub(crate) fn previous(&self) -> Option<&SnapshotTag> {
        match self {
            Self::Nothing => None,
            Self::Continues(tag) | Self::Replaces(tag) => Some(tag),
        }
    }
}

/// Name of the bitmap that begins to record with this snapshot. It says what it follows, so that
/// a snapshot can be ended by anybody at any time, also after the VM was restarted.
pub(crate) fn bitmap(tag: &SnapshotTag, follows: &Follows) -> String {
    let digits = |tag: &SnapshotTag| {
        let text = tag.as_str();
        text.strip_prefix(SnapshotTag::PREFIX)
            .unwrap_or(text)
            .to_owned()
    };
    match follows {
        Follows::Nothing => tag.name("b"),
        Follows::Continues(previous) => tag.name(&format!("b-c{}", digits(previous))),
        Follows::Replaces(previous) => tag.name(&format!("b-r{}", digits(previous))),
    }
}

/// Whose a bitmap is, and what it follows; `None` when it is not ours.
pub(crate) fn bitmap_of(name: &str) -> Option<(SnapshotTag, Follows)> {
    let tag = SnapshotTag::of_name(name)?;
    let what = name.strip_prefix(tag.as_str())?.strip_prefix("-b")?;
    let previous = |digits: &str| {
        SnapshotTag::of_name(&format!("{}{digits}", SnapshotTag::PREFIX))
            .filter(|tag| tag.as_str().len() == SnapshotTag::PREFIX.len() + digits.len())
    };
    let follows = if what.is_empty() {
        Follows::Nothing
    } else if let Some(digits) = what.strip_prefix("-c") {
        Follows::Continues(previous(digits)?)
    } else {
        Follows::Replaces(previous(what.strip_prefix("-r")?)?)
    };
    Some((tag, follows))
}

/// The fleecing file of disk number `index`. The VM's id is in it because VMs share directories.
pub(crate) fn fleecing_file(dir: &Path, tag: &SnapshotTag, vm: VmId, index: usize) -> PathBuf {
    dir.join(tag.name(&format!("f{index}.{vm}.qcow2")))
}

/// The NBD server's socket within its directory.
pub(crate) const SOCKET: &str = "s";

/// The storage daemon's QMP socket within the same directory.
pub(crate) const MONITOR: &str = "q";

/// The storage daemon's pid file within the same directory: it is there when it serves.
pub(crate) const READY: &str = "pid";

/// The storage daemon's messages within the same directory.
pub(crate) const LOG: &str = "log";

/// The directory of the NBD server's socket: private, so that nobody else can read the disks.
pub(crate) fn socket_dir(runtime_dir: &Path, tag: &SnapshotTag, vm: VmId) -> PathBuf {
    runtime_dir.join(tag.name(&format!("nbd.{vm}")))
}

/// The NBD server's socket.
pub(crate) fn socket(runtime_dir: &Path, tag: &SnapshotTag, vm: VmId) -> PathBuf {
    socket_dir(runtime_dir, tag, vm).join(SOCKET)
}

/// Whose a file or directory is, and of which VM: the exact forms of [`fleecing_file`] and
/// [`socket_dir`].
pub(crate) fn made_by_us(name: &str) -> Option<(SnapshotTag, VmId)> {
    let tag = SnapshotTag::of_name(name)?;
    let rest = name.strip_prefix(tag.as_str())?.strip_prefix('-')?;
    let vm = match rest.strip_prefix("nbd.") {
        Some(vm) => vm,
        None => {
            let (index, file) = rest.strip_prefix('f')?.split_once('.')?;
            index.parse::<usize>().ok()?;
            file.strip_suffix(".qcow2")?
        }
    };
    let id: VmId = vm.parse().ok()?;
    (id.to_string() == vm).then_some((tag, id))
}

/// Whose a file or directory is, when this provider made it for this VM.
pub(crate) fn file_of(name: &str, vm: VmId) -> Option<SnapshotTag> {
    let tag = SnapshotTag::of_name(name)?;
    name.contains(&vm.to_string()).then_some(tag)
}

#[cfg(test)]
mod tests {
    use tresor_model::JobId;

    use super::*;

    fn tag() -> SnapshotTag {
        SnapshotTag::of_job(JobId::generate())
    }

    #[test]
    fn node_names_fit_and_come_back() {
        let tag = tag();
        for role in Role::ALL {
            let name = node(&tag, role, 255);
            assert!(name.len() <= 31, "{name}");
            assert_eq!(role_of(&name), Some((tag.clone(), role)));
        }
    }

    #[test]
    fn a_bitmap_says_what_it_follows() {
        let (tag, before) = (tag(), tag());
        for follows in [
            Follows::Nothing,
            Follows::Continues(before.clone()),
            Follows::Replaces(before),
        ] {
            let name = bitmap(&tag, &follows);
            assert_eq!(bitmap_of(&name), Some((tag.clone(), follows)));
        }
    }

    #[test]
    fn files_say_whose_they_are_and_look_alikes_do_not() {
        let (tag, vm) = (tag(), VmId::generate());
        let file = fleecing_file(Path::new("/x"), &tag, vm, 12);
        let dir = socket_dir(Path::new("/x"), &tag, vm);
        for path in [file, dir] {
            let name = path.file_name().and_then(|name| name.to_str());
            assert_eq!(name.and_then(made_by_us), Some((tag.clone(), vm)));
        }
        for name in [
            format!("{tag}-f0.{vm}.qcow2.bak"),
            format!("{tag}-f0.{vm}.raw"),
            format!("{tag}-fx.{vm}.qcow2"),
            format!("{tag}-nbd.{vm}.old"),
            format!("{tag}-nbd.web01"),
            format!("my-{tag}-nbd.{vm}"),
            format!("tresor-backup-f0.{vm}.qcow2"),
        ] {
            assert_eq!(made_by_us(&name), None, "{name}");
        }
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for name in [
            "libvirt-1-format",
            "tresor-0123456789",
            "tresor-0123456789-x0",
            "tresor-0123456789-c",
            "tresor-0123456789-cx",
            "tresor-0123456789-b-c012345678",
            "tresor-0123456789-b-c0123456789-x",
            "tresor-0123456789-bx",
        ] {
            assert_eq!(role_of(name), None, "{name}");
            assert_eq!(bitmap_of(name), None, "{name}");
        }
    }
}
