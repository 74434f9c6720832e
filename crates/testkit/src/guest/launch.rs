//! From a command line to a guest that is ready.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Stdio},
};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;

use super::{Guest, POLL, Running};
use crate::{
    Answer, LONG, Monitor,
    control::Control,
    spawn::{bound_to_us, spawn},
};

/// Kills a child and waits for it, whatever happens.
pub(super) struct Reaper(pub(super) Option<Child>);

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            end(&mut child);
        }
    }
}

pub(super) fn end(child: &mut Child) {
    // Both fail only when it has ended and was waited for already.
    drop(child.kill());
    drop(child.wait());
}

impl Guest {
    /// Starts QEMU (from a saved state where one is given) and waits until the guest is ready.
    pub(super) async fn launch(&mut self, memory: Option<&Path>) -> Result<()> {
        for socket in [
            self.places.qmp(),
            self.places.test_qmp(),
            self.places.agent(),
            self.places.control(),
        ] {
            if socket.exists() {
                fs::remove_file(socket)?;
            }
        }
        let started = self.start_qemu(memory).await;
        match started {
            Ok(running) => self.running = Some(running),
            Err(error) => return Err(self.explain(error)),
        }
        self.wait_ready().await?;
        if memory.is_some() {
            self.set_clock().await?;
        }
        Ok(())
    }

    async fn start_qemu(&self, memory: Option<&Path>) -> Result<Running> {
        let mut command = bound_to_us(&self.program.program);
        command.args(self.arguments());
        if let Some(memory) = memory {
            command
                .arg("-incoming")
                .arg(format!("file:{}", memory.display()));
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.places.errors())?);
        let mut reaper = Reaper(Some(spawn(command)?));
        let monitor = tokio::time::timeout(LONG, self.connect(&mut reaper))
            .await
            .context("QEMU does not open its monitor")??;
        if memory.is_some() {
            tokio::time::timeout(LONG, arrive(&monitor))
                .await
                .context("QEMU does not take the saved state")??;
        }
        let control = Control::connect(&self.places.control()).await?;
        let child = reaper.0.take().context("QEMU was not started")?;
        Ok(Running {
            child,
            monitor,
            control,
        })
    }

    async fn connect(&self, reaper: &mut Reaper) -> Result<Monitor> {
        loop {
            let child = reaper.0.as_mut().context("QEMU was not started")?;
            if let Some(status) = child.try_wait()? {
                bail!("QEMU ended at once: {status}");
            }
            match Monitor::connect(&self.places.test_qmp()).await {
                Ok(monitor) => return Ok(monitor),
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Waits until the guest has booted, its disks are mounted and its agent runs.
    ///
    /// # Errors
    /// It does not get there; the message has its console's end.
    pub async fn wait_ready(&self) -> Result<()> {
        let ready = async {
            let running = self.running()?;
            // What is sent before somebody in the guest listens is lost.
            while !port_is_open(&running.monitor).await? {
                tokio::time::sleep(POLL).await;
            }
            let up = "test -e /run/tresor/ready && pidof qemu-ga";
            while !is_ok(running.control.exec(up, LONG / 8).await) {
                tokio::time::sleep(POLL).await;
            }
            Ok(())
        };
        let waited = tokio::select! {
            ready = tokio::time::timeout(LONG, ready) => {
                ready.context("the guest does not get ready").flatten()
            }
            gone = self.gone() => Err(gone),
        };
        waited.map_err(|error| self.explain(error))
    }

    /// Ends when QEMU has ended by itself.
    async fn gone(&self) -> anyhow::Error {
        loop {
            match self.running().and_then(|running| {
                let pid = running.child.id();
                let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
                Ok(text.contains(") Z "))
            }) {
                Ok(false) => tokio::time::sleep(POLL).await,
                Ok(true) | Err(_) => return anyhow!("QEMU ended"),
            }
        }
    }

    async fn set_clock(&self) -> Result<()> {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs();
        let answer = self.exec(&format!("date -s @{now}")).await?;
        answer.ok().map(drop)
    }
}

fn is_ok(answer: Result<Answer>) -> bool {
    answer.is_ok_and(|answer| answer.code == 0)
}

/// Whether the guest's command loop has opened its port.
async fn port_is_open(monitor: &Monitor) -> Result<bool> {
    let devices = monitor.execute("query-chardev", json!({})).await?;
    let open = devices.as_array().is_some_and(|devices| {
        devices
            .iter()
            .any(|device| device["label"] == "test" && device["frontend-open"] == true)
    });
    Ok(open)
}

/// Waits until the saved state is in, then lets the guest go on.
async fn arrive(monitor: &Monitor) -> Result<()> {
    while monitor.status().await? == "inmigrate" {
        tokio::time::sleep(POLL).await;
    }
    monitor.execute("cont", json!({})).await.map(drop)
}
