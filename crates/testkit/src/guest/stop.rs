//! The ways a guest ends, and starting it again.

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    Guest, POLL,
    launch::{Reaper, end},
};
use crate::LONG;

impl Guest {
    /// Kills QEMU at once (`SIGKILL`), as a crash or a power cut would.
    ///
    /// # Errors
    /// The guest is not running.
    pub async fn kill(&mut self) -> Result<()> {
        let mut running = self.running.take().context("the guest is not running")?;
        end(&mut running.child);
        Ok(())
    }

    /// Ends QEMU in good order: it closes its images, dirty bitmaps are kept. To the guest it is
    /// a power cut.
    ///
    /// # Errors
    /// QEMU does not end in time (and is killed then).
    pub async fn quit(&mut self) -> Result<()> {
        let running = self.running()?;
        // The answer may be lost: QEMU ends.
        drop(running.monitor.execute("quit", json!({})).await);
        self.wait_end().await
    }

    /// Shuts the guest down in good order; its file systems are clean then.
    ///
    /// # Errors
    /// It does not end in time (and is killed then).
    pub async fn power_off(&mut self) -> Result<()> {
        self.exec("poweroff").await?.ok()?;
        self.wait_end().await
    }

    /// Switches the guest off from inside, without syncing: what the guest had not written is lost,
    /// but QEMU ends in good order.
    ///
    /// # Errors
    /// It does not end in time (and is killed then).
    pub async fn power_off_at_once(&mut self) -> Result<()> {
        // No answer comes from a guest that is off.
        drop(self.exec_within("poweroff -f -n", LONG / 8).await);
        self.wait_end().await
    }

    async fn wait_end(&mut self) -> Result<()> {
        let running = self.running.take().context("the guest is not running")?;
        let mut reaper = Reaper(Some(running.child));
        let wait = async {
            loop {
                let child = reaper.0.as_mut().context("QEMU was not started")?;
                if child.try_wait()?.is_some() {
                    return Ok(());
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(LONG, wait)
            .await
            .context("QEMU does not end")
            .flatten()
            .map_err(|error| self.explain(error))
    }

    /// Boots again with the same disks; when it still runs, it is ended in good order first.
    ///
    /// # Errors
    /// It does not end, or does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        if self.running.is_some() {
            self.quit().await?;
        }
        self.launch(None).await
    }
}
