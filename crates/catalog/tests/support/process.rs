//! Child processes that can be killed.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const PLACE: &str = "TRESOR_TEST_CATALOG";

/// Another process that runs an ignored function of the same test program, by name; killed with
/// its guard.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(function: &str, catalog: &Path) -> Self {
        let program = env::current_exe().expect("this program");
        let child = Command::new(program)
            .args(["--exact", function, "--ignored", "--nocapture"])
            .env(PLACE, catalog)
            .stdout(Stdio::piped())
            .spawn();
        Self(child.expect("a child process"))
    }

    /// Ends the process as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("kill");
    }

    /// Lines that the child says to us; the test harness in it prints others.
    pub(crate) fn said(&mut self) -> impl Iterator<Item = String> + use<> {
        let output = self.0.stdout.take().expect("piped");
        BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.split_once("SAID ").map(|(_, said)| said.to_owned()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// For the child: the catalog that its parent named.
pub(crate) fn place() -> PathBuf {
    env::var_os(PLACE).expect("the parent sets it").into()
}

/// For the child: tells the parent something.
#[expect(
    clippy::print_stdout,
    reason = "standard output is the pipe to the parent"
)]
pub(crate) fn say(text: impl std::fmt::Display) {
    println!("SAID {text}");
}
