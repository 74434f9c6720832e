//! The one place for what the compiler cannot check.
#![allow(
    unsafe_code,
    reason = "fanotify has no safe binding here; a child's last steps before `exec` have none at all"
)]

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, process::CommandExt as _},
    },
    path::Path,
    process::Command,
};

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

/// Bytes of `struct fanotify_event_metadata`.
const EVENT: usize = 24;
/// Events taken in one read.
const EVENTS: usize = 64;

/// Has the kernel end the child in order (SIGTERM) when the *thread* that starts it ends: start it
/// from a thread that lives as long as the process.
pub(crate) fn end_with_parent(command: &mut Command) {
    let parent = getpid();
    let bind = move || bind_to(parent);
    // SAFETY: between `fork` and `exec` the closure only makes two system calls: no allocation, no
    // lock.
    unsafe { command.pre_exec(bind) };
}

fn bind_to(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // The parent may have died before the kernel knew.
    if getppid() == Some(parent) {
        Ok(())
    } else {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

/// Permission events on opens of a few files: whoever opens one waits for the answer. Closing it,
/// also by death, lets all of them go on.
#[derive(Debug)]
pub(crate) struct Opens(OwnedFd);

/// Somebody waits to open a marked file.
#[derive(Debug)]
pub(crate) struct Opener {
    /// Who, or 0 when it is in a PID namespace that cannot be seen from here.
    pub(crate) pid: u32,
    /// Names the event in the answer.
    file: OwnedFd,
}

impl Opens {
    /// Marks files.
    ///
    /// # Errors
    /// Without `CAP_SYS_ADMIN`, on a kernel without permission events, or when a file is not there.
    pub(crate) fn of(paths: &[&Path]) -> io::Result<Self> {
        let flags = libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
        let event_flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE).unsigned_abs();
        // SAFETY: takes two numbers, gives a new descriptor or -1.
        let fd = unsafe { libc::fanotify_init(flags, event_flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it is new, so nobody else owns it.
        let group = unsafe { OwnedFd::from_raw_fd(fd) };
        for path in paths {
            let path = CString::new(path.as_os_str().as_bytes())?;
            // SAFETY: the descriptor is open and the path ends with a zero; both outlive the call.
            let marked = unsafe {
                libc::fanotify_mark(
                    group.as_raw_fd(),
                    libc::FAN_MARK_ADD,
                    libc::FAN_OPEN_PERM,
                    libc::AT_FDCWD,
                    path.as_ptr(),
                )
            };
            if marked < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Self(group))
    }

    /// Who waits; does not block.
    pub(crate) fn next(&self) -> io::Result<Vec<Opener>> {
        let mut bytes = [0; EVENT * EVENTS];
        let length = match rustix::io::read(&self.0, &mut bytes) {
            Ok(length) => length,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let events = bytes.get(..length).unwrap_or_default().chunks_exact(EVENT);
        Ok(events.filter_map(opener).collect())
    }

    /// Lets somebody go on.
    pub(crate) fn allow(&self, opener: &Opener) -> io::Result<()> {
        let mut answer = [0; 8];
        let (file, response) = answer.split_at_mut(4);
        file.copy_from_slice(&opener.file.as_raw_fd().to_ne_bytes());
        response.copy_from_slice(&libc::FAN_ALLOW.to_ne_bytes());
        rustix::io::write(&self.0, &answer)?;
        Ok(())
    }
}

impl AsFd for Opens {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// From `struct fanotify_event_metadata`: length (4 bytes), version, reserved, length of the
/// metadata (2), mask (8), descriptor (4), process (4). Classes without extra information have
/// events of this length only.
fn opener(event: &[u8]) -> Option<Opener> {
    let number = |at: usize| {
        let bytes = event.get(at..at + 4)?;
        bytes.try_into().ok().map(i32::from_ne_bytes)
    };
    let (fd, pid) = (number(16)?, number(20)?);
    // SAFETY: the kernel opened it for the reader of this event, once. Negative: queue overflow.
    let file = (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })?;
    Some(Opener {
        pid: u32::try_from(pid).unwrap_or(0),
        file,
    })
}
