//! A running guest.

mod booted;
mod builder;
mod command;
mod disk;
mod launch;
mod saved;
mod stop;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Child,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use serde_json::json;
use tempfile::TempDir;

use self::command::{Machine, Places, arguments};
pub use self::{
    booted::Booted,
    builder::GuestBuilder,
    disk::{DiskFormat, GuestDisk},
};
use crate::{Accelerator, Answer, Assets, LONG, Monitor, QemuProgram, control::Control};

const POLL: Duration = Duration::from_millis(10);
const CONSOLE_LINES: usize = 30;

/// A real virtual machine with a real Linux inside. Ends with the value.
#[derive(Debug)]
pub struct Guest {
    machine: Machine,
    assets: Assets,
    program: QemuProgram,
    disks: Vec<GuestDisk>,
    places: Places,
    running: Option<Running>,
    /// Holds disks and sockets; goes last.
    _dir: TempDir,
}

/// What exists only while QEMU runs.
struct Running {
    child: Child,
    monitor: Monitor,
    control: Control,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QEMU {}", self.child.id())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            launch::end(&mut running.child);
        }
    }
}

impl Guest {
    /// A guest with a system disk, 128 MiB and nothing else.
    #[must_use]
    pub fn builder() -> GuestBuilder {
        GuestBuilder::new()
    }

    /// A guest that is not running yet.
    fn new(
        machine: Machine,
        assets: Assets,
        program: QemuProgram,
        disks: Vec<GuestDisk>,
        dir: TempDir,
    ) -> Self {
        Self {
            machine,
            assets,
            program,
            disks,
            places: Places {
                dir: dir.path().to_path_buf(),
            },
            running: None,
            _dir: dir,
        }
    }

    fn running(&self) -> Result<&Running> {
        self.running.as_ref().context("the guest is not running")
    }

    /// Adds the end of QEMU's messages and of the guest's console to an error.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let errors = fs::read_to_string(self.places.errors()).unwrap_or_default();
        error.context(format!(
            "guest {}; QEMU says: {}\nthe console's last lines:\n{}",
            self.machine.name,
            errors.trim(),
            self.console_tail()
        ))
    }

    /// The last lines of the guest's console.
    #[must_use]
    pub fn console_tail(&self) -> String {
        let bytes = fs::read(self.places.serial()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n")
    }

    /// Its UUID in QEMU.
    #[must_use]
    pub fn uuid(&self) -> uuid::Uuid {
        self.machine.uuid
    }

    /// The monitor for the product.
    #[must_use]
    pub fn qmp_socket(&self) -> PathBuf {
        self.places.qmp()
    }

    /// The QEMU guest agent's channel, for the product.
    #[must_use]
    pub fn agent_socket(&self) -> PathBuf {
        self.places.agent()
    }

    /// The file of its UEFI variables, when it was built with [`GuestBuilder::uefi`].
    #[must_use]
    pub fn nvram(&self) -> PathBuf {
        self.places.nvram()
    }

    /// The tests' monitor.
    ///
    /// # Errors
    /// The guest is not running.
    pub fn monitor(&self) -> Result<&Monitor> {
        Ok(&self.running()?.monitor)
    }

    /// The disks, in the guest's order; the system disk first.
    #[must_use]
    pub fn disks(&self) -> &[GuestDisk] {
        &self.disks
    }

    /// A private directory next to the disks, for a test's own files. Gone with the guest.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.places.dir
    }

    /// The process id of QEMU.
    ///
    /// # Errors
    /// The guest is not running.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.running()?.child.id())
    }

    /// What runs the guest's instructions.
    #[must_use]
    pub fn accelerator(&self) -> Accelerator {
        self.machine.accelerator
    }

    /// The QEMU that it runs on.
    #[must_use]
    pub fn qemu(&self) -> &QemuProgram {
        &self.program
    }

    /// Gives other additional words for QEMU's command line, from the next start on.
    pub fn set_extra_arguments(&mut self, words: &[&str]) {
        self.machine.extra = words.iter().map(|&word| word.to_owned()).collect();
    }

    /// QEMU and its words, without a saved state: what starts the same machine by hand.
    #[must_use]
    pub fn command_line(&self) -> Vec<String> {
        let mut words = vec![self.program.program.display().to_string()];
        words.extend(self.arguments());
        words
    }

    fn arguments(&self) -> Vec<String> {
        arguments(
            &self.machine,
            &self.assets,
            &self.program,
            &self.disks,
            &self.places,
        )
    }

    /// Runs a shell command in the guest and waits for it, at most [`LONG`].
    ///
    /// # Errors
    /// The guest does not answer in time.
    pub async fn exec(&self, command: &str) -> Result<Answer> {
        self.exec_within(command, LONG).await
    }

    /// Like [`Guest::exec`], with a limit. A command that outlives it goes on in the guest.
    ///
    /// # Errors
    /// The guest does not answer in time.
    pub async fn exec_within(&self, command: &str, limit: Duration) -> Result<Answer> {
        let answer = self.running()?.control.exec(command, limit).await;
        answer.map_err(|error| self.explain(error))
    }

    /// Starts one simple command (no `&&`, no `;`) in the guest that goes on by itself, and gives
    /// its process id there. What it prints is in `/run/tresor/PID.out`.
    ///
    /// # Errors
    /// The guest does not answer in time.
    pub async fn start_background(&self, command: &str) -> Result<u32> {
        let quoted = command.replace('\'', r"'\''");
        // The shell writes its own pid into the name and becomes the command.
        let script = format!(
            "setsid sh -c 'exec >/run/tresor/$$.out 2>&1; exec {quoted}' </dev/null >/dev/null 2>&1 & echo $!"
        );
        let printed = self.exec(&script).await?.ok()?;
        printed
            .trim()
            .parse()
            .with_context(|| format!("the guest's shell printed {printed:?}"))
    }

    /// Stops the guest for as long as it takes to copy its image files into `dir`, and gives the
    /// copies: the reference for restored disks. What the guest had not flushed is not in them,
    /// as in any snapshot.
    ///
    /// # Errors
    /// The guest is not running, or a copy fails; the guest goes on in any case.
    pub async fn pause_and_copy_disks(&self, dir: &Path) -> Result<Vec<GuestDisk>> {
        let monitor = self.monitor()?;
        // Stopping also drains and flushes every disk.
        monitor.execute("stop", json!({})).await?;
        let copies = self.copy_disks(dir).await;
        monitor.execute("cont", json!({})).await?;
        copies
    }

    /// Copies the image files as they are, without stopping anything: for guests that are paused
    /// or not running.
    ///
    /// # Errors
    /// A copy fails.
    pub async fn copy_disks(&self, dir: &Path) -> Result<Vec<GuestDisk>> {
        let mut copies = Vec::new();
        for disk in &self.disks {
            let name = disk.path.file_name().context("a disk has no file name")?;
            let copy = GuestDisk {
                path: dir.join(name),
                ..disk.clone()
            };
            disk::copy_file(&disk.path, &copy.path).await?;
            copies.push(copy);
        }
        Ok(copies)
    }
}

/// An exclusive lock between processes, held until the value is dropped.
pub(crate) async fn lock_file(path: &Path) -> Result<File> {
    let path = path.to_path_buf();
    tokio::task::spawn_blocking(move || {
        let file = File::create(&path)?;
        file.lock()?;
        Ok(file)
    })
    .await?
    .map_err(|error: std::io::Error| anyhow!(error).context("cannot take a lock in target/guest"))
}
