//! The one place for what the compiler cannot check.
#![allow(unsafe_code, reason = "file descriptors by number have no safe owner")]

use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

/// Closes every file descriptor but standard input, output and error: what this process inherited
/// (a lock, a pipe that somebody reads to its end) must not live for as long as it does.
///
/// Call it first in `main`, before anything of this process holds a descriptor.
pub(crate) fn close_inherited() {
    for fd in open_descriptors() {
        // SAFETY: it is open, and by the contract above nothing in this process owns it.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

fn open_descriptors() -> Vec<RawFd> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return Vec::new();
    };
    let numbers = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.parse::<RawFd>().ok()
    });
    let mut numbers: Vec<RawFd> = numbers.filter(|fd| *fd > 2).collect();
    // The directory that was read was one of them, and is closed by now.
    numbers.retain(|fd| std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok());
    numbers
}
