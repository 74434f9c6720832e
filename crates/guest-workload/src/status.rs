//! What writers leave in `/run` (tmpfs: it neither freezes nor goes into a backup).

use std::{fs, io::Write, path::Path, thread, time::Duration};

use crate::report::Failure;

/// Where all of it lives.
pub(crate) const RUN: &str = "/run/tresor";

/// Replaces a small file in one step, so that a reader sees the old or the new text.
pub(crate) fn put(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    fs::write(&temporary, text)?;
    fs::rename(&temporary, path)
}

/// Makes an I/O error impossible to overlook: in `/run/tresor/io-error` and on the console.
/// Best effort: there is nobody left to tell when this fails.
pub(crate) fn record_failure(failure: &Failure) {
    if !matches!(failure, Failure::Io { .. }) {
        return;
    }
    let line = format!("tresor-workload: I/O ERROR: {failure}\n");
    for target in ["/run/tresor/io-error", "/dev/console"] {
        let file = fs::OpenOptions::new()
            .append(true)
            .create(!target.starts_with("/dev"))
            .open(target);
        if let Ok(mut file) = file {
            drop(file.write_all(line.as_bytes()));
        }
    }
}

/// Waits; a writer has nothing else to do on its thread.
pub(crate) fn rest(time: Duration) {
    if !time.is_zero() {
        thread::park_timeout(time);
    }
}
