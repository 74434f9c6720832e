//! Guards as processes: found by their program and command line, signalled, waited for.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tresor_link::{GuardCommand, QemuGuestAgent};

pub(crate) const GUARD: &str = env!("CARGO_BIN_EXE_tresor-thaw-guard");

pub(crate) fn command() -> GuardCommand {
    GuardCommand::new(GUARD)
}

pub(crate) fn agent(socket: &Path) -> QemuGuestAgent {
    QemuGuestAgent::new(socket, command())
}

/// The guards of one guest. Kills what is left of them when the test ends.
pub(crate) struct Guards(PathBuf);

impl Guards {
    pub(crate) fn of(socket: &Path) -> Self {
        Self(socket.to_owned())
    }

    /// Their process ids.
    pub(crate) fn pids(&self) -> Vec<String> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|process| {
                let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                let words: Vec<_> = line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
                let words: Vec<_> = words.into_iter().map(OsString::from_vec).collect();
                // By what it runs: what it is called in lists is another matter.
                std::fs::read_link(process.path().join("exe"))
                    .is_ok_and(|exe| exe == Path::new(GUARD))
                    && words.iter().any(|word| word == self.0.as_os_str())
            })
            .map(|process| process.file_name().into_string().unwrap())
            .collect()
    }

    /// Sends a signal to the only one.
    pub(crate) async fn signal(&self, signal: &str) {
        self.wait_for(1).await;
        send(signal, &self.pids()[0]);
    }

    /// Waits until so many run: one that was started just now is seen a little later.
    pub(crate) async fn wait_for(&self, count: usize) {
        for _ in 0..1200 {
            if self.pids().len() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!(
            "{} guards run after a minute, not {count}",
            self.pids().len()
        );
    }

    /// Waits until all have ended by themselves.
    pub(crate) async fn ended(&self) {
        self.wait_for(0).await;
    }
}

impl Drop for Guards {
    fn drop(&mut self) {
        for pid in self.pids() {
            send("-KILL", &pid);
        }
    }
}

fn send(signal: &str, pid: &str) {
    Command::new("kill").args([signal, pid]).status().unwrap();
}
