//! A running guest.

mod builder;
mod command;
mod disk;
mod saved;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use tempfile::TempDir;

use self::command::{Machine, Places, arguments};
pub use self::{
    builder::GuestBuilder,
    disk::{DiskFormat, GuestDisk},
};
use crate::{
    Accelerator, Answer, Assets, LONG, Monitor, QemuProgram,
    control::Control,
    spawn::{bound_to_us, spawn},
};

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

/// Kills a child and waits for it, whatever happens.
struct Reaper(Option<Child>);

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            end(&mut child);
        }
    }
}

fn end(child: &mut Child) {
    // Both fail only when it has ended and was waited for already.
    drop(child.kill());
    drop(child.wait());
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            end(&mut running.child);
        }
    }
}

impl Guest {
    /// A guest with a system disk, 128 MiB and nothing else.
    #[must_use]
    pub fn builder() -> GuestBuilder {
        GuestBuilder::new()
    }

    async fn boot(
        machine: Machine,
        assets: Assets,
        program: QemuProgram,
        disks: Vec<GuestDisk>,
        dir: TempDir,
        places: Places,
    ) -> Result<Self> {
        let mut guest = Self {
            machine,
            assets,
            program,
            disks,
            places,
            running: None,
            _dir: dir,
        };
        guest.launch(None).await?;
        Ok(guest)
    }

    async fn resume(
        machine: Machine,
        assets: Assets,
        program: QemuProgram,
        disks: Vec<GuestDisk>,
        dir: TempDir,
        places: Places,
        memory: &Path,
    ) -> Result<Self> {
        let mut guest = Self {
            machine,
            assets,
            program,
            disks,
            places,
            running: None,
            _dir: dir,
        };
        guest.launch(Some(memory)).await?;
        Ok(guest)
    }

    /// Starts QEMU (from a saved state where one is given) and waits until the guest is ready.
    async fn launch(&mut self, memory: Option<&Path>) -> Result<()> {
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

    /// Starts a shell command in the guest that goes on by itself, and gives its process id
    /// there. What it prints is in `/run/tresor/PID.out`.
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
