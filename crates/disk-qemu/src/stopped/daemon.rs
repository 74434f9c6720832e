//! A storage daemon that answers QMP.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
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

use super::process::Process;
use crate::{connect::Lease, failure, naming, prepare, provider::QemuConfig};

/// How long it may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to write its bitmaps and end.
const END_LIMIT: Duration = Duration::from_secs(60);
/// How often its socket is looked at.
const POLL: Duration = Duration::from_millis(5);
/// Most bytes of its messages that are shown.
const MAX_MESSAGE: usize = 2000;

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
        let monitor = socket.with_file_name(naming::MONITOR);
        let log = socket.with_file_name(naming::LOG);
        let program = config.storage_daemon.clone();
        let step = format!(
            "start {} (Debian and Ubuntu: package qemu-utils)",
            program.display()
        );
        let command = command(&program, &monitor, &log).map_err(failure::host(&step))?;
        // Starting waits for another thread.
        let started = tokio::task::spawn_blocking(move || Process::start(command));
        let process = started
            .await
            .map_err(std::io::Error::other)
            .and_then(|result| result)
            .map_err(failure::host(&step))?;
        let process = Arc::new(process);
        let why = match timeout(START_LIMIT, connect(config, &monitor, &process)).await {
            Ok(Ok(Some(client))) => {
                return Ok(Self {
                    client: Arc::new(client),
                    process,
                    socket,
                });
            }
            Ok(Ok(None)) => match process.ended().await {
                Some(status) => format!("it ended ({status})"),
                None => "it ended".to_owned(),
            },
            Ok(Err(error)) => return Err(failure::qmp(&step)(error)),
            Err(_elapsed) => format!("it does not answer within {} s", START_LIMIT.as_secs()),
        };
        Err(Error::new(ErrorKind::Host, step).because(format!("{why}: {}", said(&log).await)))
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

fn command(program: &Path, monitor: &Path, log: &Path) -> std::io::Result<Command> {
    use std::os::unix::process::CommandExt as _;
    let log = new_log(log)?;
    // QEMU takes a doubled comma for a comma.
    let path = monitor.display().to_string().replace(',', ",,");
    let mut command = Command::new(program);
    command
        .args(["--chardev"])
        .arg(format!("socket,id=m,path={path},server=on,wait=off"))
        .args(["--monitor", "chardev=m"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C at a terminal is for us: we end it when its work is undone.
        .process_group(0);
    Ok(command)
}

/// What it wrote, the beginning of it.
async fn said(log: &Path) -> String {
    let said = tokio::fs::read(log).await.unwrap_or_default();
    let said = said.get(..said.len().min(MAX_MESSAGE)).unwrap_or_default();
    String::from_utf8_lossy(said).trim().to_owned()
}

/// Connects as soon as it listens and has time; `None` when it has ended. Nobody else knows its
/// monitor, so no greeting only says that it is slow, and a connection that closes that it ends.
async fn connect(
    config: &QemuConfig,
    monitor: &Path,
    process: &Process,
) -> Result<Option<Client>, tresor_qmp::Error> {
    use tresor_qmp::ErrorKind::{Busy, Closed, Unreachable};
    loop {
        match Client::connect(monitor, config.limits).await {
            Ok(client) => return Ok(Some(client)),
            Err(error) if !matches!(error.kind(), Unreachable | Busy | Closed) => {
                return Err(error);
            }
            Err(_) if process.has_ended() => return Ok(None),
            Err(_) => tokio::time::sleep(POLL).await,
        }
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
fn new_log(path: &Path) -> std::io::Result<File> {
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
    use std::os::unix::fs::PermissionsExt as _;

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
        let (monitor, log) = (
            dir.path().join(naming::MONITOR),
            dir.path().join(naming::LOG),
        );
        let config = QemuConfig::new("no-vm");
        let none = end_left_behind(&config, dir.path()).await;
        none.expect("there is none");
        let command = command(&silent(dir.path()), &monitor, &log).expect("makes the log");
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
