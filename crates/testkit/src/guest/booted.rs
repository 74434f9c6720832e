//! A guest that somebody else's command line boots: what a restore wrote, for instance.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{POLL, command::Places, launch::Reaper};
use crate::{
    Answer, LONG, Monitor,
    control::Control,
    spawn::{bound_to_us, spawn},
};

/// A running guest whose command line is not ours. Ends with the value.
pub struct Booted {
    control: Control,
    monitor: Monitor,
    _child: Reaper,
}

impl Booted {
    /// Runs the script, and waits until the guest is ready. Its sockets must have the names that
    /// [`crate::Guest`] gives them, in `run_dir`.
    ///
    /// # Errors
    /// It does not get there; the message has what the script printed.
    pub async fn start(script: &Path, run_dir: &Path) -> Result<Self> {
        let places = Places {
            dir: run_dir.to_owned(),
        };
        fs::create_dir_all(run_dir)?;
        let errors = run_dir.join("boot.err");
        let mut command = bound_to_us(script);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors)?);
        let child = Reaper(Some(spawn(command)?));
        let booted = tokio::time::timeout(LONG, connect(&places)).await;
        let (monitor, control) = booted.with_context(|| explain(&errors, &places))??;
        let booted = Self {
            control,
            monitor,
            _child: child,
        };
        tokio::time::timeout(LONG, booted.wait_ready())
            .await
            .with_context(|| explain(&errors, &places))?;
        Ok(booted)
    }

    async fn wait_ready(&self) {
        let up = "test -e /run/tresor/ready && pidof qemu-ga";
        // What is sent before somebody in the guest listens is lost, so each try is short.
        while !matches!(
            self.exec_within(up, Duration::from_secs(2)).await,
            Ok(Answer { code: 0, .. })
        ) {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Runs a shell command in the guest.
    ///
    /// # Errors
    /// The guest does not answer.
    pub async fn exec(&self, command: &str) -> Result<Answer> {
        self.exec_within(command, LONG).await
    }

    async fn exec_within(&self, command: &str, limit: Duration) -> Result<Answer> {
        self.control.exec(command, limit).await
    }

    /// The monitor.
    #[must_use]
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }
}

async fn connect(places: &Places) -> Result<(Monitor, Control)> {
    loop {
        if let (Ok(monitor), Ok(control)) = (
            Monitor::connect(&places.test_qmp()).await,
            Control::connect(&places.control()).await,
        ) {
            return Ok((monitor, control));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn explain(errors: &Path, places: &Places) -> String {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    format!(
        "the machine does not get ready\n{}\n{}",
        read(errors.to_owned()),
        read(places.serial())
    )
}
