//! A scratch PostgreSQL server, ended with its guard.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{AnyConnection, Connection as _};
use tempfile::TempDir;
use tresor_catalog::Catalog;

/// Without its own user PostgreSQL does not start as root; `nobody` exists everywhere.
const NOBODY: u32 = 65534;

/// A running server.
pub(crate) struct Postgres {
    server: Child,
    directory: TempDir,
}

impl Postgres {
    /// Starts a server that listens on a Unix socket in a temporary directory only.
    pub(crate) fn start() -> Self {
        let programs = programs();
        let directory = tempfile::tempdir().expect("temporary directory");
        if rustix::process::getuid().is_root() {
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
        }
        let data = directory.path().join("data");
        let made = unprivileged(&programs.join("initdb"))
            .args(["-U", "postgres", "--auth=trust", "--no-sync", "-D"])
            .arg(&data)
            .current_dir(directory.path())
            .output()
            .expect("initdb runs");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let server = unprivileged(&programs.join("postgres"))
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(directory.path())
            .arg("-D")
            .arg(&data)
            .current_dir(directory.path())
            .stderr(fs::File::create(directory.path().join("log")).expect("log file"))
            .spawn()
            .expect("postgres runs");
        Self { server, directory }
    }

    /// The catalog in this server; waits until the server answers.
    pub(crate) async fn catalog(&self) -> Catalog {
        self.connection().await.close().await.expect("close");
        let opened = Catalog::connect(&self.url(), "scratch server".to_owned()).await;
        opened.expect("open")
    }

    /// A connection of its own; waits until the server answers.
    pub(crate) async fn connection(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        let begun = Instant::now();
        loop {
            match AnyConnection::connect(&self.url()).await {
                Ok(connection) => return connection,
                Err(error) if begun.elapsed() > Duration::from_secs(60) => {
                    let log = fs::read_to_string(self.directory.path().join("log"));
                    panic!("{error:?}\n{}", log.unwrap_or_default());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn url(&self) -> String {
        let socket = self.directory.path().display();
        format!("postgres://postgres@localhost/postgres?host={socket}&sslmode=disable")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT: the server ends its own children, which SIGKILL would leave behind.
        let pid = i32::try_from(self.server.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::QUIT).ok();
        }
        self.server.wait().ok();
    }
}

fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    if rustix::process::getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// The newest installed version's programs: distributions keep them out of PATH.
fn programs() -> PathBuf {
    let mut found: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|directory| directory.join("initdb").exists())
        .collect();
    found.sort();
    found
        .pop()
        .expect("PostgreSQL is needed for this test: install the package `postgresql`")
}
