//! Real servers for the tests, ended by pid when the test ends.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tresor_nbd::{Address, Client, ConnectOptions, Descriptor};

/// Time any step of a test may take before it counts as stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const MIB: u64 = 1 << 20;

/// A server process and the directory of its files; both go when it is dropped.
pub(crate) struct Server {
    child: Child,
    dir: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    /// Starts `command`, which is to listen on [`socket_in`] of `dir`, and waits until it does.
    pub(crate) async fn start(dir: TempDir, mut command: Command, package: &str) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {program} (package {package}): {error}"));
        let mut server = Self { child, dir };
        let begun = Instant::now();
        while UnixStream::connect(socket_in(server.dir.path())).is_err() {
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("{program} ended before it listened: {status}");
            }
            assert!(begun.elapsed() < PATIENCE, "{program} does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server
    }

    pub(crate) fn address(&self) -> Address {
        Address::Unix(socket_in(self.dir.path()))
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn kill(&mut self) {
        // Fails only when the process has ended by itself.
        drop(self.child.kill());
        self.child.wait().expect("the server can be waited for");
    }

    pub(crate) async fn connect(
        &self,
        export: &str,
        options: &ConnectOptions,
    ) -> tresor_nbd::Result<Client> {
        Client::connect(&self.address(), export, options).await
    }
}

pub(crate) fn socket_in(dir: &Path) -> PathBuf {
    dir.join("nbd.sock")
}

/// Runs a tool to its end; its failure is the test's.
pub(crate) fn run(program: &str, arguments: &[&str], package: &str) -> Output {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program} (package {package}): {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

pub(crate) fn qemu_img(arguments: &[&str]) -> String {
    String::from_utf8(run("qemu-img", arguments, "qemu-utils").stdout).unwrap()
}

pub(crate) fn qemu_io(image: &Path, format: &str, commands: &[&str]) {
    let mut arguments = vec!["-f", format];
    commands
        .iter()
        .for_each(|command| arguments.extend(["-c", command]));
    arguments.push(text(image));
    run("qemu-io", &arguments, "qemu-utils");
}

/// An nbdkit server with these arguments.
pub(crate) async fn nbdkit(arguments: &[&str]) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("nbdkit");
    command
        .args(["--foreground", "--unix"])
        .arg(socket_in(dir.path()))
        .args(arguments);
    Server::start(dir, command, "nbdkit").await
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn options(connections: usize, contexts: &[&str]) -> ConnectOptions {
    ConnectOptions {
        connections,
        contexts: contexts.iter().map(|&name| name.to_owned()).collect(),
        connect_limit: PATIENCE,
        request_limit: PATIENCE,
    }
}

/// Bytes that differ at every offset a test could confuse.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_ne_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The windows (offset, length) whose flags have all of `mask`, neighbours joined.
pub(crate) fn flagged(run: &[Descriptor], mask: u64) -> Vec<(u64, u64)> {
    let mut at = 0;
    let mut found: Vec<(u64, u64)> = Vec::new();
    for extent in run {
        if extent.flags & mask == mask {
            match found.last_mut() {
                Some(last) if last.0 + last.1 == at => last.1 += extent.length,
                _ => found.push((at, extent.length)),
            }
        }
        at += extent.length;
    }
    found
}
