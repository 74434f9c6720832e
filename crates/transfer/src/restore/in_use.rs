//! Who holds a file that a restore would replace.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

/// QEMU marks an image that it has open by locks on bytes 100 to 299 (`block/file-posix.c`:
/// permissions in use from 100, permissions not shared from 200).
const QEMU_LOCK_START: i64 = 100;
const QEMU_LOCK_LENGTH: i64 = 200;

/// Who has the file open for a VM or for writing, in words; `None` when nobody does that this
/// process can see.
///
/// # Errors
/// When the file cannot be looked at. A file that is not there is held by nobody.
pub fn holder(path: &Path) -> io::Result<Option<String>> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if let Some(process) = process_that_writes(&meta) {
        return Ok(Some(process));
    }
    Ok(is_locked(&File::open(path)?)?.then(|| "a program that locked it, as QEMU does".to_owned()))
}

fn is_locked(file: &File) -> io::Result<bool> {
    let question = Flock {
        start: QEMU_LOCK_START.unsigned_abs(),
        length: QEMU_LOCK_LENGTH.unsigned_abs(),
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    Ok(fcntl_getlk(file, &question)?.is_some())
}

/// Looks through the open files of all processes. Processes of other users are seen by root only;
/// what cannot be looked at is passed over, the lock is the second sign.
fn process_that_writes(target: &Metadata) -> Option<String> {
    let own = std::process::id();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if pid != own && has_open_for_writing(pid, target) {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            return Some(format!("process {pid} ({})", name.trim()));
        }
    }
    None
}

fn has_open_for_writing(pid: u32, target: &Metadata) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| {
        fs::metadata(file.path())
            .is_ok_and(|meta| meta.dev() == target.dev() && meta.ino() == target.ino())
            && file.metadata().is_ok_and(|link| link.mode() & 0o200 != 0)
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    struct Killed(Child);
    impl Drop for Killed {
        fn drop(&mut self) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }

    #[test]
    fn a_file_that_another_process_writes_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.raw");
        assert_eq!(holder(&path).unwrap(), None);
        let log = File::create(&path).unwrap();
        assert_eq!(holder(&path).unwrap(), None, "our own handle does not count");
        let child = Killed(
            Command::new("sleep").arg("600").stdout(Stdio::from(log)).spawn().unwrap(),
        );
        let found = holder(&path).unwrap().unwrap();
        assert!(found.contains(&child.0.id().to_string()), "{found}");
        drop(child);
        assert_eq!(holder(&path).unwrap(), None);
    }
}
