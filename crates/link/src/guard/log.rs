//! What a guard did, in a file on the host: all that is left to look at when both it and its
//! parent are gone.
//!
//! A thread of its own writes, so that a disk that hangs never keeps a thaw waiting. Lines are
//! short; the file is moved to `.old` at 1 MiB.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// More lines than a guard's life has; what does not fit is lost.
const QUEUE: usize = 64;
const MAX_SIZE: u64 = 1 << 20;

/// How long the guard's end waits for the disk.
const END_LIMIT: Duration = Duration::from_secs(2);

/// A log; without a file it does nothing.
#[derive(Debug)]
pub(super) struct Log(Option<Writer>);

#[derive(Debug)]
struct Writer {
    lines: SyncSender<String>,
    written: Receiver<()>,
}

impl Log {
    /// Appends to `path`. A log that cannot be opened is no reason not to guard.
    pub(super) fn open(path: Option<&Path>) -> Self {
        let Some(file) = path.and_then(open) else {
            return Self(None);
        };
        let (lines, queue) = sync_channel(QUEUE);
        let (done, written) = sync_channel(1);
        let thread = thread::Builder::new().name("log".to_owned());
        let started = thread.spawn(move || write(file, &queue, &done));
        Self(started.ok().map(|_| Writer { lines, written }))
    }

    /// Notes what happens now; never waits.
    pub(super) fn note(&self, what: &str) {
        if let Some(writer) = &self.0 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.unwrap_or_default().as_millis();
            let line = format!("{now} guard {} {what}\n", std::process::id());
            writer.lines.try_send(line).ok(); // full: the disk hangs, and thawing goes first
        }
    }

    /// Gives the disk a moment to take the last lines.
    pub(super) fn finish(self) {
        if let Some(Writer { lines, written }) = self.0 {
            drop(lines);
            written.recv_timeout(END_LIMIT).ok();
        }
    }
}

fn open(path: &Path) -> Option<File> {
    let size = path.metadata().map(|metadata| metadata.len());
    if size.is_ok_and(|size| size > MAX_SIZE) {
        std::fs::rename(path, path.with_extension("old")).ok();
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    options.open(path).ok()
}

fn write(mut file: File, queue: &Receiver<String>, done: &SyncSender<()>) {
    for line in queue {
        file.write_all(line.as_bytes()).ok();
    }
    done.send(()).ok();
}
