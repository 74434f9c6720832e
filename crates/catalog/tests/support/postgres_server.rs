//! A scratch PostgreSQL server, ended with its guard. It can be stopped and started again.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Without its own user PostgreSQL does not start as root; `nobody` exists everywhere.
const NOBODY: u32 = 65534;

/// What the server's user is asked for over TCP.
pub(crate) const PASSWORD: &str = "a:p@ss/word";

/// A server.
pub(crate) struct PostgresServer {
    /// `None` while it is stopped.
    running: Option<Child>,
    directory: TempDir,
    port: u16,
}

#[allow(dead_code, reason = "each test program uses its part")]
impl PostgresServer {
    /// Starts a server that listens on a Unix socket in a temporary directory, without a password, and on
    /// the loopback, with one.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        if rustix::process::getuid().is_root() {
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
        }
        let password = directory.path().join("password");
        fs::write(&password, PASSWORD).expect("write");
        let made = unprivileged(&programs().join("initdb"), directory.path())
            .args(["-U", "postgres", "--no-sync", "--auth-local=trust"])
            .arg("--auth-host=scram-sha-256")
            .arg(format!("--pwfile={}", password.display()))
            .arg("-D")
            .arg(directory.path().join("data"))
            .output()
            .expect("initdb runs");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let mut server = Self {
            running: None,
            directory,
            port: free.expect("a free port").port(),
        };
        server.start_again(&[]);
        server
    }

    /// Starts it where it was, with further settings, and waits until it answers.
    #[expect(
        clippy::disallowed_methods,
        reason = "the test has nothing to do before the server answers"
    )]
    pub(crate) fn start_again(&mut self, settings: &[&str]) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"));
        let port = format!("port={}", self.port);
        let mut command = unprivileged(&programs().join("postgres"), self.directory.path());
        for setting in [
            &["listen_addresses=127.0.0.1", "fsync=off", &port],
            settings,
        ]
        .concat()
        {
            command.args(["-c", setting]);
        }
        command.arg("-k").arg(self.directory.path());
        command.arg("-D").arg(self.directory.path().join("data"));
        command.stderr(log.expect("log file"));
        self.running = Some(command.spawn().expect("postgres runs"));
        let begun = Instant::now();
        while !self.try_sql("postgres", "SELECT 1").status.success() {
            let is_late = begun.elapsed() > Duration::from_secs(60);
            assert!(!is_late, "{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends it as an administrator does in a hurry: connections are cut.
    pub(crate) fn stop(&mut self) {
        self.end(Signal::INT);
    }

    fn end(&mut self, signal: Signal) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        let pid = i32::try_from(running.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, signal).ok();
        }
        running.wait().ok();
    }

    /// Its URL over the Unix socket.
    pub(crate) fn url(&self) -> String {
        let (socket, port) = (self.directory.path().display(), self.port);
        format!("postgres://postgres@localhost:{port}/postgres?host={socket}&sslmode=disable")
    }

    /// A URL of a database over TCP; the password as it is to be written there.
    pub(crate) fn tcp_url(&self, password: &str, database: &str) -> String {
        let port = self.port;
        format!("postgres://postgres:{password}@localhost:{port}/{database}")
    }

    /// Its own files, the data in `data`.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What one statement in a database gives: values with `|` between, a row a line.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> String {
        let done = self.try_sql(database, statement);
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{statement}: {error}");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    fn try_sql(&self, database: &str, statement: &str) -> std::process::Output {
        Command::new(programs().join("psql"))
            .args(["-X", "-q", "-t", "-A", "-U", "postgres", "-h"])
            .arg(self.directory.path())
            .args(["-p", &self.port.to_string(), "-d", database])
            .args(["-c", statement])
            .output()
            .expect("psql runs")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // SIGQUIT: the server ends its own children, which SIGKILL would leave behind.
        self.end(Signal::QUIT);
    }
}

fn unprivileged(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.current_dir(directory);
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
