//! The vault's disk: a file system of its own, which can be full, read-only or gone.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use crate::{LONG, run};

const ROOMY: &str = "size=2g";
/// How long a writer may be faster than us.
const WRITERS_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// A mounted tmpfs; unmounted with the value.
#[derive(Debug)]
pub(super) struct Store {
    at: PathBuf,
}

impl Store {
    /// Mounts one. Needs root, as the set-up does.
    pub(super) async fn mount(at: PathBuf) -> Result<Self> {
        fs::create_dir_all(&at)?;
        let options = format!("{ROOMY},mode=0700");
        let path = at.to_str().context("a path is not UTF-8")?;
        let words = ["-t", "tmpfs", "-o", &options, "tresor-test", path];
        run("mount", &words, LONG).await?;
        Ok(Self { at })
    }

    /// Where the vault is.
    pub(super) fn vault(&self) -> PathBuf {
        self.at.join("vault")
    }

    fn away(&self) -> PathBuf {
        self.at.join("away")
    }

    async fn remount(&self, option: &str) -> Result<()> {
        let option = format!("remount,{option}");
        let path = self.at.to_str().context("a path is not UTF-8")?;
        run("mount", &["-o", &option, path], LONG).await.map(drop)
    }

    /// Leaves no space: the file system is as large as what is in it.
    pub(super) async fn fill(&self) -> Result<()> {
        let tries = async {
            loop {
                let space = rustix::fs::statvfs(&self.at)?;
                let used = (space.f_blocks - space.f_bfree) * space.f_frsize;
                // Refused when a writer was faster.
                if self.remount(&format!("size={used}")).await.is_ok() {
                    return Ok(());
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let filled = tokio::time::timeout(WRITERS_LIMIT, tries).await;
        filled.context("the vault's disk does not get full")?
    }

    /// Refuses every change from now on; false when somebody had a file open for writing all the
    /// time.
    pub(super) async fn make_read_only(&self, limit: Duration) -> Result<bool> {
        let tries = async {
            while let Err(error) = self.remount("ro").await {
                if !format!("{error:#}").contains("busy") {
                    return Err(error);
                }
                tokio::time::sleep(POLL).await;
            }
            Ok(true)
        };
        tokio::time::timeout(limit, tries)
            .await
            .unwrap_or(Ok(false))
    }

    /// Takes the directory away.
    pub(super) fn hide(&self) -> Result<()> {
        fs::rename(self.vault(), self.away()).context("cannot move the vault away")
    }

    /// Makes everything as it was.
    pub(super) async fn mend(&self) -> Result<()> {
        self.remount(&format!("rw,{ROOMY}")).await?;
        if self.away().exists() {
            fs::rename(self.away(), self.vault()).context("cannot move the vault back")?;
        }
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Lazily: a program that a failed run left must not keep the mount. When it fails the
        // temporary directory's removal fails too, which says so.
        drop(
            std::process::Command::new("umount")
                .arg("-l")
                .arg(&self.at)
                .status(),
        );
    }
}
