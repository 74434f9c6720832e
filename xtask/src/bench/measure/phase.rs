//! One measured run.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::process::{Memory, Usage, machine_busy_s, memory_of_tree, usage_of_ended};

/// Time between two looks at the memory of a program.
const SAMPLING: Duration = Duration::from_millis(20);

/// Whether the page cache was empty when a phase began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Cache {
    /// Everything written was on the disk, and nothing cached.
    Dropped,
    /// It could not be dropped: that needs root, and a machine of one's own.
    Kept,
}

impl Cache {
    /// Writes everything to the disk, then asks the kernel to forget it.
    pub(in crate::bench) fn drop_all() -> Self {
        rustix::fs::sync();
        match fs::write("/proc/sys/vm/drop_caches", "3") {
            Ok(()) => Self::Dropped,
            Err(_) => Self::Kept,
        }
    }
}

/// What a run took.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Phase {
    pub wall_s: f64,
    pub user_s: f64,
    pub sys_s: f64,
    /// Highest resident set, bytes.
    pub peak: u64,
    /// Bytes that read calls gave.
    pub read: u64,
    /// CPU seconds that others on the machine took meanwhile, the kernel's own threads included:
    /// a wall time beside much of it says little.
    pub others_s: f64,
    /// How long writing out the rest of the program's data took after its end.
    pub flush_s: f64,
    /// What it printed on standard output.
    pub output: String,
}

/// Runs a program to its end. `dir` is on the file system that it writes to; `log` takes what it
/// says on standard error, and its standard output passes through a file beside it.
pub(in crate::bench) fn run_phase(mut command: Command, dir: &Path, log: &Path) -> Result<Phase> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output_file = PathBuf::from(format!("{}.out", log.display()));
    command
        .stdin(Stdio::null())
        .stdout(File::create(&output_file)?)
        .stderr(File::create(log)?);

    let busy_before = machine_busy_s()?;
    let begin = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let ended = watch(Running(child), begin)?;
    let all_s = machine_busy_s()? - busy_before;
    let flush = Instant::now();
    rustix::fs::syncfs(File::open(dir)?).context("cannot flush the bench's file system")?;

    if !ended.status.success() {
        let said = fs::read_to_string(log).unwrap_or_default();
        let tail: Vec<_> = said.lines().rev().take(8).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        bail!("{program} failed ({}):\n{}", ended.status, tail.join("\n"));
    }
    Ok(Phase {
        wall_s: ended.wall.as_secs_f64(),
        user_s: ended.usage.user_s,
        sys_s: ended.usage.sys_s,
        peak: ended.memory.sum_kib.max(ended.memory.highest_kib) * 1024,
        read: ended.usage.read,
        others_s: (all_s - ended.usage.user_s - ended.usage.sys_s).max(0.0),
        flush_s: flush.elapsed().as_secs_f64(),
        output: fs::read_to_string(&output_file).unwrap_or_default(),
    })
}

/// A program that is killed and reaped when its run is given up.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A program that has ended.
struct Ended {
    status: ExitStatus,
    wall: Duration,
    usage: Usage,
    memory: Memory,
}

/// Samples a program's memory until its end; then takes its counts, then reaps it.
fn watch(mut running: Running, begin: Instant) -> Result<Ended> {
    let pid = running.0.id();
    let (ended, ends) = mpsc::channel::<()>();
    let sampler = thread::spawn(move || sample(pid, &ends));
    let waited = wait_without_reaping(pid);
    let wall = begin.elapsed();
    drop(ended);
    let memory = sampler
        .join()
        .map_err(|_| anyhow::anyhow!("the sampler panicked"))?;
    waited.context("cannot wait for the program")?;
    let usage = usage_of_ended(pid).context("cannot read what the program took")?;
    Ok(Ended {
        status: running.0.wait()?,
        wall,
        usage,
        memory,
    })
}

fn wait_without_reaping(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the system gave an impossible process id"))?;
    loop {
        match waitid(
            WaitId::Pid(pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.map(drop).map_err(io::Error::from),
        }
    }
}

fn sample(pid: u32, ends: &mpsc::Receiver<()>) -> Memory {
    let mut most = Memory::default();
    loop {
        let now = memory_of_tree(pid);
        most.sum_kib = most.sum_kib.max(now.sum_kib);
        most.highest_kib = most.highest_kib.max(now.highest_kib);
        if ends.recv_timeout(SAMPLING) == Err(RecvTimeoutError::Disconnected) {
            return most;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Phase> {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run_phase(command, dir.path(), &dir.path().join("log"))
    }

    #[test]
    fn counts_of_grandchildren_are_in() {
        let phase =
            shell("sh -c 'head -c 3000000 /dev/zero | cat >/dev/null; true'; echo done").unwrap();
        assert!(phase.read >= 6_000_000, "{phase:?}");
        assert_eq!(phase.output, "done\n");
        assert!(phase.peak > 0);
    }

    #[test]
    fn work_of_a_child_is_user_time() {
        let phase =
            shell("sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; true").unwrap();
        assert!(phase.user_s > 0.0, "{phase:?}");
    }

    #[test]
    fn a_program_that_fails_is_an_error_with_its_own_words() {
        let error = shell("echo no space on the moon >&2; exit 3")
            .unwrap_err()
            .to_string();
        assert!(error.contains("no space on the moon"), "{error}");
    }
}
