//! A storage daemon that answers QMP.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{getegid, geteuid};
use tokio::{net::UnixStream, time::timeout};
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
    let log = std::fs::File::create(log)?;
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

/// Connects as soon as it listens; `None` when it has ended.
async fn connect(
    config: &QemuConfig,
    monitor: &Path,
    process: &Process,
) -> Result<Option<Client>, tresor_qmp::Error> {
    loop {
        match Client::connect(monitor, config.limits).await {
            Ok(client) => return Ok(Some(client)),
            Err(error) if error.kind() != tresor_qmp::ErrorKind::Unreachable => return Err(error),
            Err(_) if process.has_ended() => return Ok(None),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Ends the daemon that has this directory, when there still is one, and waits until nobody
/// listens in it: it may be ending already. A directory without a daemon's log is not a daemon's.
pub(super) async fn end_left_behind(config: &QemuConfig, directory: &Path) -> Result<(), Error> {
    if !directory.join(naming::LOG).exists() {
        return Ok(());
    }
    let monitor = directory.join(naming::MONITOR);
    if let Ok(client) = Client::connect(&monitor, config.limits).await {
        let _answer = client.run(&Quit {}).await;
    }
    let sockets = [monitor, directory.join(naming::SOCKET)];
    let gone = async {
        for socket in &sockets {
            while UnixStream::connect(socket).await.is_ok() {
                tokio::time::sleep(POLL).await;
            }
        }
    };
    timeout(END_LIMIT, gone).await.map_err(|_elapsed| {
        let step = "wait for a storage daemon that was left behind to end";
        Error::new(ErrorKind::Timeout, step)
    })
}
