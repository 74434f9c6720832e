//! Starting a storage daemon until it answers.
//!
//! Its monitor is not connected to before it says that it has begun to serve, by its pid file. It hands
//! the listening socket to another thread until then: who connects in that moment may be taken in by
//! nobody, and nobody else is after that (QEMU 7.2 and 10.0: one start of a hundred on a busy machine).

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::time::timeout;
use tresor_disk::{Error, ErrorKind};
use tresor_qmp::Client;

use super::{
    daemon::{POLL, new_log},
    process::Process,
};
use crate::{failure, naming, provider::QemuConfig};

/// How long it may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Most bytes of its messages that are shown.
const MAX_MESSAGE: usize = 2000;

/// Where a daemon is started.
pub(super) struct Launch<'a> {
    config: &'a QemuConfig,
    monitor: PathBuf,
    ready: PathBuf,
    log: PathBuf,
    step: String,
}

impl<'a> Launch<'a> {
    /// Beside the socket of its NBD server.
    pub(super) fn beside(config: &'a QemuConfig, socket: &Path) -> Self {
        let program = config.storage_daemon.display();
        Self {
            config,
            monitor: socket.with_file_name(naming::MONITOR),
            ready: socket.with_file_name(naming::READY),
            log: socket.with_file_name(naming::LOG),
            step: format!("start {program} (Debian and Ubuntu: package qemu-utils)"),
        }
    }

    /// Starts one, and connects to its monitor.
    pub(super) async fn daemon(&self) -> Result<(Arc<Process>, Client), Error> {
        let process = self.start().await?;
        let why = match timeout(START_LIMIT, self.connect(&process)).await {
            Ok(Ok(Some(client))) => return Ok((process, client)),
            Ok(Ok(None)) => match process.ended().await {
                Some(status) => format!("it ended ({status})"),
                None => "it ended".to_owned(),
            },
            Ok(Err(error)) => return Err(failure::qmp(&self.step)(error)),
            Err(_elapsed) => format!("it does not answer within {} s", START_LIMIT.as_secs()),
        };
        Err(self.failed(why).await)
    }

    async fn start(&self) -> Result<Arc<Process>, Error> {
        let command = self.command().map_err(failure::host(&self.step))?;
        // Starting waits for another thread.
        let started = tokio::task::spawn_blocking(move || Process::start(command));
        let process = started
            .await
            .map_err(std::io::Error::other)
            .and_then(|result| result)
            .map_err(failure::host(&self.step))?;
        Ok(Arc::new(process))
    }

    /// Connects as soon as it serves and has time; `None` when it has ended. Nobody else knows its
    /// monitor, so no greeting only says that it is slow, and a connection that closes that it ends.
    async fn connect(&self, process: &Process) -> Result<Option<Client>, tresor_qmp::Error> {
        use tresor_qmp::ErrorKind::{Busy, Closed, Unreachable};
        while !process.has_ended() {
            if self.ready.exists() {
                match Client::connect(&self.monitor, self.config.limits).await {
                    Ok(client) => return Ok(Some(client)),
                    Err(error) if !matches!(error.kind(), Unreachable | Busy | Closed) => {
                        return Err(error);
                    }
                    Err(error) => tracing::debug!(%error, "the storage daemon is not there yet"),
                }
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(None)
    }

    /// What starts it, with a new log.
    pub(super) fn command(&self) -> std::io::Result<Command> {
        use std::os::unix::process::CommandExt as _;
        let log = new_log(&self.log)?;
        // QEMU takes a doubled comma for a comma.
        let path = self.monitor.display().to_string().replace(',', ",,");
        let mut command = Command::new(&self.config.storage_daemon);
        command
            .args(["--chardev"])
            .arg(format!("socket,id=m,path={path},server=on,wait=off"))
            .args(["--monitor", "chardev=m"])
            // Written before the first request is served, removed at the end.
            .arg("--pidfile")
            .arg(&self.ready)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C at a terminal is for us: we end it when its work is undone.
            .process_group(0);
        Ok(command)
    }

    async fn failed(&self, why: impl Display) -> Error {
        let said = said(&self.log).await;
        Error::new(ErrorKind::Host, &self.step).because(format!("{why}: {said}"))
    }
}

/// What it wrote, the beginning of it.
async fn said(log: &Path) -> String {
    let said = tokio::fs::read(log).await.unwrap_or_default();
    let said = said.get(..said.len().min(MAX_MESSAGE)).unwrap_or_default();
    String::from_utf8_lossy(said).trim().to_owned()
}
