//! The process that froze, as a process: to be killed.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::guards::GUARD;

const PARENT: &str = env!("CARGO_BIN_EXE_tresor-freeze-and-wait");

/// A process that froze the guest through the library and waits to be killed.
pub(crate) struct FrozenParent(Child);

impl FrozenParent {
    pub(crate) fn start(socket: &Path) -> Self {
        let child = Command::new(PARENT)
            .args([socket.as_os_str(), GUARD.as_ref()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut parent = Self(child);
        let mut line = String::new();
        let mut reader = BufReader::new(parent.0.stdout.as_mut().unwrap());
        reader.read_line(&mut line).unwrap();
        assert!(line.starts_with("frozen "), "{line}");
        parent
    }

    /// Stops it: it sees nothing any more, its guard's death included.
    pub(crate) fn stop(&self) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args(["-STOP", &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for FrozenParent {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
