//! One Tresor at a time works on a VM of this host, whatever state directory it uses.
//!
//! A file per VM in the runtime directory, locked with `flock`: the kernel frees it when the process
//! dies, however that happens. No child inherits it (close-on-exec). What is in the file is for
//! people; only the lock counts.
//!
//! # After a crash
//! The file stays, unlocked; the next one that takes the lock uses it, `tresor reconcile` removes it.

use std::{
    fs,
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use serde::{Deserialize, Serialize};
use tresor_model::{JobId, VmId};
use tresor_problem::{Kind, Problem};

/// What a holder writes is shorter.
const MAX_HOLDER: u64 = 64 << 10;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    state_dir: PathBuf,
    /// The job it works on, once there is one.
    job: Option<JobId>,
}

/// The lock of one VM, until the value is dropped.
#[derive(Debug)]
pub struct HostLock {
    path: PathBuf,
    file: fs::File,
    holder: Holder,
}

impl HostLock {
    /// Takes the lock of a VM. Does not wait.
    ///
    /// # Errors
    /// `VmBusy` with its holder, `StateUnusable` when the directory cannot be used.
    pub fn take(dir: &Path, vm: (VmId, &str), state_dir: &Path) -> Result<Self, Problem> {
        let path = dir.join(format!("{}.lock", vm.0));
        fs::create_dir_all(dir).map_err(|error| unusable(dir, &error))?;
        let Some(file) = lock(&path).map_err(|error| unusable(&path, &error))? else {
            return Err(busy(&path, vm.1));
        };
        let holder = Holder {
            pid: std::process::id(),
            state_dir: std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_owned()),
            job: None,
        };
        let mut held = Self { path, file, holder };
        held.write()?;
        Ok(held)
    }

    /// Says which job it is held for.
    ///
    /// # Errors
    /// `StateUnusable` when the file cannot be written.
    pub fn note(&mut self, job: JobId) -> Result<(), Problem> {
        self.holder.job = Some(job);
        self.write()
    }

    fn write(&mut self) -> Result<(), Problem> {
        let written = write(&mut self.file, &self.holder);
        written.map_err(|error| unusable(&self.path, &error))
    }

    /// Removes the lock files that nobody holds; gives their names.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn remove_stale(dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut removed = Vec::new();
        let listed = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(removed),
            listed => listed?,
        };
        for entry in listed {
            let path = entry?.path();
            if !is_lock(&path) {
                continue;
            }
            // Removed while it is held, as by `drop`: else somebody could take it in between, and
            // a second one make it anew.
            if let Some(_held) = lock(&path)? {
                fs::remove_file(&path)?;
                removed.push(path);
            }
        }
        Ok(removed)
    }
}

impl Drop for HostLock {
    fn drop(&mut self) {
        // While it is held: whoever waits at the old file sees that it is none any more. A file
        // that stays is harmless.
        fs::remove_file(&self.path).ok();
    }
}

/// Whether a file's name is that of a VM's lock.
fn is_lock(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let vm = name.and_then(|name| name.strip_suffix(".lock"));
    vm.is_some_and(|vm| vm.parse::<VmId>().is_ok())
}

/// The locked file; `None` when somebody else has it.
fn lock(path: &Path) -> io::Result<Option<fs::File>> {
    loop {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
        let file = fs::File::from(file);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // Its last holder may have removed it between the two calls.
        match fs::symlink_metadata(path) {
            Ok(there) if there.ino() == file.metadata()?.ino() => return Ok(Some(file)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

fn write(file: &mut fs::File, holder: &Holder) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(holder)?)
}

fn unusable(path: &Path, error: &io::Error) -> Problem {
    let path = path.display().to_string();
    let reason = error.to_string();
    Problem::caused_by(Kind::StateUnusable { path, reason }, error)
}

fn busy(path: &Path, vm: &str) -> Problem {
    let mut text = String::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(MAX_HOLDER).read_to_string(&mut text));
    let holder: Option<Holder> = read.ok().and_then(|_| serde_json::from_str(&text).ok());
    let job = holder.as_ref().and_then(|holder| holder.job);
    let job = job.map_or_else(|| "(not begun yet)".to_owned(), |job| job.to_string());
    let holder = match holder {
        Some(Holder { pid, state_dir, .. }) => {
            format!("process {pid}, with its state in {}", state_dir.display())
        }
        // It has locked and not written yet.
        None => format!("the holder of {}", path.display()),
    };
    let vm = vm.to_owned();
    Kind::VmBusy { vm, job, holder }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(dir: &Path, vm: VmId) -> Result<HostLock, Problem> {
        HostLock::take(dir, (vm, "web01"), Path::new("/state"))
    }

    #[test]
    fn the_second_one_learns_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let vm = VmId::generate();
        let mut held = take(dir.path(), vm).unwrap();
        let job = JobId::generate();
        held.note(job).unwrap();
        let problem = take(dir.path(), vm).unwrap_err();
        assert!(problem.cause.contains(&job.to_string()), "{problem}");
        assert!(problem.is("VmBusy"), "{problem}");
        assert!(problem.cause.contains("/state"), "{problem}");
        take(dir.path(), VmId::generate()).unwrap();
        drop(held);
        take(dir.path(), vm).unwrap();
    }

    #[test]
    fn only_lock_files_that_nobody_holds_are_stale() {
        let dir = tempfile::tempdir().unwrap();
        let _held = take(dir.path(), VmId::generate()).unwrap();
        let foreign = dir.path().join("libvirt.lock");
        let dead = dir.path().join(format!("{}.lock", VmId::generate()));
        for file in [&foreign, &dead] {
            fs::write(file, "").unwrap();
        }
        assert_eq!(HostLock::remove_stale(dir.path()).unwrap(), [dead]);
        assert!(foreign.exists());
    }
}
