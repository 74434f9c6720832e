//! A storage daemon that answers QMP.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock, open},
    io::Errno,
    process::{getegid, geteuid},
};
use tokio::time::timeout;
use tresor_disk::{Error, ErrorKind};
use tresor_model::{SnapshotTag, VmId};
use tresor_qmp::{Client, Peer, commands::machine::Quit};

use super::{launch::Launch, process::Process};
use crate::{connect::Lease, failure, naming, prepare, provider::QemuConfig};

/// How long it may take to write its bitmaps and end.
const END_LIMIT: Duration = Duration::from_secs(60);
/// How often its socket is looked at.
pub(super) const POLL: Duration = Duration::from_millis(5);

/// A storage daemon without images. Dropped, it ends in order, some time later.
#[derive(Debug)]
pub(super) struct Daemon {
    client: Lease,
    process: Arc<Process>,
    /// Where its NBD server shall listen.
    pub(super) socket: PathBuf,
}

impl Daemon {
    /// Starts one for a snapshot, in the directory of the snapshot's sockets.
    pub(super) async fn start(
        config: &QemuConfig,
        tag: &SnapshotTag,
        vm: VmId,
    ) -> Result<Self, Error> {
        let owner = Peer {
            pid: None,
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
        };
        let socket = prepare::make_socket_dir(&config.runtime_dir, tag, vm, owner).await?;
        let (process, client) = Launch::beside(config, &socket).daemon().await?;
        Ok(Self {
            client: Arc::new(client),
            process,
            socket,
        })
    }

    pub(super) fn client(&self) -> &Lease {
        &self.client
    }

    pub(super) fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Ends it in order, and waits: then its bitmaps are in the images, and the locks are free.
    pub(super) async fn quit(&self) -> Result<(), Error> {
        // The answer may be lost: it ends.
        let _answer = self.client.run(&Quit {}).await;
        let ended = timeout(END_LIMIT, self.process.ended()).await;
        let step = "wait for the storage daemon to end";
        ended
            .map(drop)
            .map_err(|_elapsed| Error::new(ErrorKind::Timeout, step))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.terminate(); // others hold the process to see its end
    }
}

/// Ends the daemon that has this directory, when there still is one, and waits until it has ended,
/// however far it came: one that was started a moment ago would bind its sockets, and one that ends
/// remove them, by paths that may be another daemon's by then. A directory without a daemon's log is
/// not a daemon's.
pub(super) async fn end_left_behind(config: &QemuConfig, directory: &Path) -> Result<(), Error> {
    let step = "wait for a storage daemon that was left behind to end";
    let log = directory.join(naming::LOG);
    if !is_held(&log).map_err(failure::host(step))? {
        return Ok(());
    }
    let monitor = directory.join(naming::MONITOR);
    if let Ok(client) = Client::connect(&monitor, config.limits).await {
        let _answer = client.run(&Quit {}).await;
    }
    let gone = async {
        while is_held(&log)? {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    };
    let gone = timeout(END_LIMIT, gone).await;
    let gone = gone.map_err(|_elapsed| Error::new(ErrorKind::Timeout, step))?;
    gone.map_err(failure::host(step))
}

/// A new log. It is locked for as long as somebody has it open: we until the daemon is started, then
/// the daemon, whose messages go there. So the lock is the sign of a daemon that lives, or is about
/// to; the kernel takes it away.
pub(super) fn new_log(path: &Path) -> std::io::Result<File> {
    let log = File::create(path)?;
    flock(&log, FlockOperation::LockExclusive)?; // at most a look at it is waited for
    Ok(log)
}

/// Whether a daemon has this log. The directory may be one that QEMU owns, which a guest may have
/// taken over: what is no plain file is nothing of ours, and not waited for.
pub(crate) fn is_held(log: &Path) -> std::io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let log = match open(log, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::LOOP) => return Ok(false),
        log => log?,
    };
    match flock(&log, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, process::Command};

    use super::*;

    /// A program in the daemon's place, which opens no socket.
    fn silent(dir: &Path) -> PathBuf {
        let program = dir.join("daemon");
        std::fs::write(&program, "#!/bin/sh\nexec sleep 600\n").expect("writes");
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&program, mode).expect("may run");
        program
    }

    #[tokio::test]
    async fn a_daemon_that_does_not_listen_yet_is_waited_for() {
        let dir = tempfile::tempdir().expect("temp dir");
        let log = dir.path().join(naming::LOG);
        let mut config = QemuConfig::new("no-vm");
        config.storage_daemon = silent(dir.path());
        let none = end_left_behind(&config, dir.path()).await;
        none.expect("there is none");
        let launch = Launch::beside(&config, &dir.path().join(naming::SOCKET));
        let command = launch.command().expect("makes the log");
        assert!(is_held(&log).expect("looks"), "it is about to be started");
        let process = Process::start(command).expect("starts");

        let directory = dir.path().to_owned();
        let end = tokio::spawn(async move { end_left_behind(&config, &directory).await });
        tokio::time::sleep(20 * POLL).await;
        assert!(!end.is_finished() && !process.has_ended());
        process.terminate();
        end.await.expect("no panic").expect("it has ended");
        process.ended().await;
        assert!(!is_held(&log).expect("looks"));
    }

    #[test]
    fn what_is_no_plain_file_is_no_log_and_not_waited_for() {
        let dir = tempfile::tempdir().expect("temp dir");
        let held = new_log(&dir.path().join("held")).expect("makes a log");
        assert!(is_held(&dir.path().join("held")).expect("looks"));
        let (link, fifo) = (dir.path().join("link"), dir.path().join("fifo"));
        std::os::unix::fs::symlink("held", &link).expect("links");
        let made = Command::new("mkfifo").arg(&fifo).status().expect("runs");
        assert!(made.success());
        for log in [link, fifo] {
            assert!(!is_held(&log).expect("looks"), "{}", log.display());
        }
        drop(held);
    }
}
