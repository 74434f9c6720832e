//! Runs `tresor` as a user would, and reads what it prints.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::process::Command;

/// The program with a state directory.
pub(crate) struct Tresor {
    program: PathBuf,
    state: PathBuf,
}

impl Tresor {
    pub(crate) fn new(program: &Path, state: &Path) -> Self {
        Self {
            program: program.to_owned(),
            state: state.to_owned(),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["--output", "json", "--progress", "lines", "--state-dir"])
            .arg(&self.state)
            .args(args)
            .env_remove("TRESOR_VAULT")
            .env_remove("TRESOR_KEY_FILE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    /// Runs a command that must succeed; its progress goes to the terminal, its result is given.
    pub(crate) async fn run(&self, args: &[&str]) -> Result<Value> {
        match self.try_run(args).await? {
            (0, result) => Ok(result),
            (code, problem) => bail!("`tresor {}` ended with {code}: {problem}", args.join(" ")),
        }
    }

    /// Runs a command; gives its exit code and the last object it printed.
    pub(crate) async fn try_run(&self, args: &[&str]) -> Result<(i32, Value)> {
        let child = self.command(args).spawn().context("cannot start tresor")?;
        let output = child.wait_with_output().await?;
        let text = String::from_utf8(output.stdout)?;
        let last = text.lines().last().map(serde_json::from_str).transpose()?;
        Ok((output.status.code().unwrap_or(-1), last.unwrap_or_default()))
    }
}
