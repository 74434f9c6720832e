//! A guest, a vault on a disk of its own, and the program under test.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;
use tresor_jobs::{KillPoint, Moment};

use super::{Fault, store::Store, writers};
use crate::{
    Guest,
    program::{Program, Running},
};

/// The name under which the guest is registered.
const VM: &str = "vm";

/// One guest and one vault, for as many runs as go well.
pub struct Lab {
    pub(super) guest: Guest,
    pub(super) program: Program,
    pub(super) store: Store,
    /// The recovery points that must be there, oldest first.
    pub(super) points: Vec<String>,
    runs: u32,
    dir: TempDir,
}

impl Lab {
    /// Starts a guest with writers, makes a vault, and does a first backup. The program is copied,
    /// so that a build meanwhile changes nothing.
    ///
    /// # Errors
    /// One of these fails: nothing was interrupted yet.
    pub async fn new(program: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("ti-").tempdir_in("/tmp")?;
        let copy = dir.path().join("tresor");
        fs::copy(program, &copy).with_context(|| format!("no {}", program.display()))?;
        let store = Store::mount(dir.path().join("store")).await?;
        // No I/O thread: with one, QEMU 10.0 in emulation loses an interrupt of a disk now and then
        // when it is stopped and continued, which each run does. It does so without us, too.
        let guest = Guest::builder().data_disk().start().await?;
        let mut lab = Self {
            guest,
            program: Program::new(copy, dir.path().join("state")),
            store,
            points: Vec::new(),
            runs: 0,
            dir,
        };
        lab.register().await?;
        writers::start(&lab.guest).await?;
        lab.back_up().await.context("the first backup")?;
        Ok(lab)
    }

    async fn register(&self) -> Result<()> {
        let vault = self.store.vault().display().to_string();
        let (qmp, agent) = (self.guest.qmp_socket(), self.guest.agent_socket());
        let (qmp, agent) = (qmp.display().to_string(), agent.display().to_string());
        let add = ["vm", "add", VM, "--qmp", &qmp, "--agent", &agent];
        for args in [&["vault", "create", &vault][..], &add] {
            self.program.run(args).await?.ok()?;
        }
        Ok(())
    }

    /// Every moment at which a backup by this program can be cut off.
    ///
    /// # Errors
    /// The program does not say.
    pub async fn kill_points(program: &Path) -> Result<Vec<KillPoint>> {
        let state = tempfile::tempdir()?;
        let program = Program::new(program.to_owned(), state.path().join("state"));
        let listed = program.run(&["debug", "kill-points", "backup"]).await?;
        let points = listed.all()?.into_iter().map(serde_json::from_value);
        Ok(points.collect::<Result<_, _>>()?)
    }

    /// How many runs it has seen.
    #[must_use]
    pub fn runs(&self) -> u32 {
        self.runs
    }

    /// A backup that nobody disturbs.
    pub(super) async fn back_up(&mut self) -> Result<Value> {
        let point = self.program.run(&["backup", VM]).await?.ok()?;
        let id = point["point"]
            .as_str()
            .context("a backup without a point")?;
        self.points.push(id.to_owned());
        Ok(point)
    }

    /// A place for files of this run.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a backup that will be held at the moment; gives it, and the number of its last stop.
    pub(super) fn start_held(
        &mut self,
        point: &KillPoint,
        fault: Fault,
        delay_ms: u64,
    ) -> Result<Running> {
        self.runs += 1;
        let KillPoint {
            sub_task, moment, ..
        } = point;
        let hold = match moment {
            Moment::During => format!("{sub_task}:{moment}:{delay_ms}"),
            // To see the undo of a sub-task, it is interrupted when it is done.
            _ if moment.is_undo() => format!("{sub_task}:{},{sub_task}:{moment}", Moment::Done),
            _ => format!("{sub_task}:{moment}"),
        };
        let mut environment = vec![
            ("TRESOR_HOLD", hold.into()),
            ("TRESOR_HOLD_RELEASE", self.release_file().into()),
        ];
        if fault.clock().is_some() {
            self.set_clock("+0")?;
            environment.extend(self.clock_variables()?);
        }
        let args = ["backup", VM, "--progress", "lines"];
        self.program.start_with(&args, &environment)
    }

    fn release_file(&self) -> PathBuf {
        self.path(&format!("go-{}", self.runs))
    }

    /// Lets the held program go on.
    pub(super) fn release(&self, stop: u32) -> Result<()> {
        let mut file = self.release_file().into_os_string();
        file.push(format!(".{stop}"));
        fs::write(file, "").context("cannot let the program go on")
    }

    /// What the program's clock shows from now on, against the machine's. Time that passes is
    /// never touched, as on a machine whose clock is set.
    pub(super) fn set_clock(&self, offset: &str) -> Result<()> {
        fs::write(self.path("clock.new"), offset)?;
        fs::rename(self.path("clock.new"), self.path("clock")).context("cannot set the clock")
    }

    fn clock_variables(&self) -> Result<Vec<(&'static str, OsString)>> {
        Ok(vec![
            ("LD_PRELOAD", clock_library()?.into()),
            ("FAKETIME_TIMESTAMP_FILE", self.path("clock").into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
        ])
    }
}

/// libfaketime, for programs with threads.
fn clock_library() -> Result<PathBuf> {
    for dir in fs::read_dir("/usr/lib")? {
        let library = dir?.path().join("faketime/libfaketimeMT.so.1");
        if library.exists() {
            return Ok(library);
        }
    }
    bail!("libfaketime is not installed; `cargo xtask setup` installs it")
}
