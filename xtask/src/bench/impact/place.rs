//! The program with a state and a vault of its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use tempfile::TempDir;
use tresor_testkit::Guest;

use super::super::measure::{Phase, run_phase};
use crate::soak::lab::build;

/// The name under which the guest is registered.
const VM: &str = "bench";

/// A new vault, with the guest registered: its first backup is a full one.
pub(super) struct Place {
    dir: TempDir,
    program: PathBuf,
}

impl Place {
    pub(super) async fn new(guest: &Guest) -> Result<Self> {
        let program = build(&[]).await?;
        let place = Self {
            dir: tempfile::tempdir()?,
            program,
        };
        let vault = place.path("vault").display().to_string();
        place.run(&["vault", "create", &vault]).await?;
        let qmp = guest.qmp_socket().display().to_string();
        let agent = guest.agent_socket().display().to_string();
        let add = ["vm", "add", VM, "--qmp", &qmp, "--agent", &agent];
        place.run(&add).await?;
        Ok(place)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A backup to its end.
    pub(super) async fn backup(&self, more: &[&str]) -> Result<Phase> {
        self.run(&[&["backup", VM], more].concat()).await
    }

    /// A backup to be started.
    pub(super) fn command(&self, more: &[&str]) -> Command {
        command(
            &self.program,
            self.dir.path(),
            &[&["backup", VM], more].concat(),
        )
    }

    async fn run(&self, args: &[&str]) -> Result<Phase> {
        let command = command(&self.program, self.dir.path(), args);
        let (dir, log) = (self.dir.path().to_owned(), self.path("log"));
        tokio::task::spawn_blocking(move || run_phase(command, &dir, &log)).await?
    }
}

fn command(program: &Path, dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--output", "json", "--state-dir"])
        .arg(dir.join("state"))
        .args(args)
        .env_remove("TRESOR_KEY_FILE")
        .env_remove("TRESOR_VAULT");
    command
}
