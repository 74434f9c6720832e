//! Many backups of one VM, with all that happens to it between them: does the last one cost what
//! the first one did, and is each of them what the disks were?
//!
//! Before each backup something changes, by the seed; sometimes the guest is restarted, QEMU is
//! killed, a disk grows, or a backup is killed. The backup is made while the VM is paused. For some
//! runs, chosen by the seed, the image files are copied then; at the end their points are restored
//! and compared with these copies.

mod events;
mod report;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;
use tresor_testkit::{Guest, GuestDisk, Program, compare_images};

use self::events::{Event, event_of, mix};
use super::{
    Options,
    lab::build,
    report::{Machine, publish},
};
use crate::term::say;

/// So many points are restored and compared.
const COMPARED: usize = 20;
/// The name under which the guest is registered.
const VM: &str = "endurance";
/// Clock ticks a second in `/proc`.
const TICKS: u64 = 100;

/// What one backup cost.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    /// Bytes that may have changed, that were read, and that were stored.
    changed: u64,
    read: u64,
    stored: u64,
    /// Objects that the vault has more.
    objects: u64,
    wall_ms: u64,
    cpu_ms: u64,
}

/// One backup.
#[derive(Debug)]
struct Backup {
    event: Event,
    cost: Cost,
    /// Whether every disk was read incrementally.
    incremental: bool,
}

/// What the runs came to.
#[derive(Debug, Default)]
struct Results {
    backups: Vec<Backup>,
    /// Reasons of disks that were read in full, by what had happened before.
    reasons: BTreeMap<(Event, String), u32>,
    compared: usize,
    failures: Vec<String>,
}

/// Runs the soak, prints and leaves its report.
pub(super) async fn run(options: &Options) -> Result<()> {
    crate::setup::run(false).await?;
    let program = build(&[]).await?;
    let mut endurance = Endurance::start(&program, options).await?;
    let machine = Machine::observe(&endurance.guest);
    for run in 0..options.runs {
        if let Err(error) = endurance.once(run).await {
            endurance.failed(format!("run {run}: stopped: {error:#}"));
            break;
        }
        if run % 10 == 9 {
            say(&format!(
                "soak endurance: {} of {} runs",
                run + 1,
                options.runs
            ));
        }
    }
    if let Err(error) = endurance.conclude().await {
        endurance.failed(format!("at the end: {error:#}"));
    }
    let failures = endurance.results.failures.len();
    publish(
        options,
        &report::text(options, &machine, &endurance.results),
    )?;
    if failures > 0 {
        bail!("{failures} failures: see the report");
    }
    Ok(())
}

/// A guest, a program, and what has been seen so far.
struct Endurance {
    guest: Guest,
    program: Program,
    seed: u64,
    /// The runs whose images are copied.
    chosen: Vec<u64>,
    /// Points with the images as they were then.
    copies: Vec<(String, Vec<GuestDisk>)>,
    points: usize,
    results: Results,
    dir: TempDir,
}

impl Endurance {
    async fn start(program: &Path, options: &Options) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let copy = dir.path().join("tresor");
        fs::copy(program, &copy)?;
        let program = Program::new(copy, dir.path().join("state"));
        // No I/O thread: see the lab of the interruptions in the testkit.
        let guest = Guest::builder().data_disk().start().await?;
        let vault = dir.path().join("vault").display().to_string();
        let qmp = guest.qmp_socket().display().to_string();
        let agent = guest.agent_socket().display().to_string();
        let add = ["vm", "add", VM, "--qmp", &qmp, "--agent", &agent];
        for args in [&["vault", "create", &vault][..], &add, &["backup", VM]] {
            program.run(args).await?.ok()?;
        }
        let mut order: Vec<u64> = (0..options.runs).collect();
        order.sort_by_key(|run| mix(options.seed, *run, "compared"));
        order.truncate(COMPARED);
        Ok(Self {
            guest,
            program,
            seed: options.seed,
            chosen: order,
            copies: Vec::new(),
            points: 1,
            results: Results::default(),
            dir,
        })
    }

    fn failed(&mut self, text: String) {
        say(&text);
        self.results.failures.push(text);
    }

    /// Changes, an event, and a backup.
    async fn once(&mut self, run: u64) -> Result<()> {
        let seed = mix(self.seed, run, "change");
        let mib = 1 + seed % 8;
        let churn = format!("tresor-workload churn --dir /data/churn --mib {mib} --seed {seed}");
        self.guest.exec(&churn).await?.ok()?;
        let event = event_of(self.seed, run);
        let happened = self.happen(event).await;
        happened.with_context(|| format!("{event}"))?;
        self.guest.monitor()?.execute("stop", json!({})).await?;
        let saved = self.back_up(run, event).await;
        self.guest.monitor()?.execute("cont", json!({})).await?;
        saved
    }

    async fn happen(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Nothing => {}
            Event::Restart => self.guest.restart().await?,
            Event::KillQemu => {
                self.guest.kill().await?;
                self.guest.restart().await?;
            }
            Event::Grow => self.grow().await?,
            Event::KillBackup => {
                let mut backup = self.program.start(&["backup", VM, "--progress", "lines"])?;
                backup.until_done("Take snapshot").await?;
                backup.kill().await?;
            }
        }
        Ok(())
    }

    /// Makes the data disk 16 MiB larger while the guest runs.
    async fn grow(&self) -> Result<()> {
        let disk = self.guest.disks().last().context("a guest without disks")?;
        let monitor = self.guest.monitor()?;
        let nodes = monitor
            .execute("query-named-block-nodes", json!({}))
            .await?;
        let nodes = nodes.as_array().into_iter().flatten();
        let size = nodes
            .filter(|node| node["node-name"] == disk.name.as_str())
            .find_map(|node| node["image"]["virtual-size"].as_u64());
        let size = size.context("QEMU does not say how large the disk is")? + (16 << 20);
        let resize = json!({ "node-name": disk.name, "size": size });
        monitor.execute("block_resize", resize).await.map(drop)
    }

    async fn back_up(&mut self, run: u64, event: Event) -> Result<()> {
        let (before, cpu) = (self.objects()?, children_cpu_ms()?);
        let begun = Instant::now();
        let point = self.program.run(&["backup", VM]).await?.ok()?;
        let total = &point["total"];
        let number = |name: &str| total[name].as_u64().unwrap_or(0);
        let cost = Cost {
            changed: number("changed"),
            read: number("read"),
            stored: number("stored"),
            objects: self.objects()? - before,
            wall_ms: u64::try_from(begun.elapsed().as_millis())?,
            cpu_ms: children_cpu_ms()? - cpu,
        };
        let incremental = self.note_modes(event, &point)?;
        self.results.backups.push(Backup {
            event,
            cost,
            incremental,
        });
        self.points += 1;
        if self.chosen.contains(&run) {
            let id = point["point"]
                .as_str()
                .context("a backup without a point")?;
            let dir = self.dir.path().join(format!("copy-{run}"));
            fs::create_dir(&dir)?;
            let copies = self.guest.copy_disks(&dir).await?;
            self.copies.push((id.to_owned(), copies));
        }
        Ok(())
    }

    /// Whether all disks were read incrementally; a full read without a reason is an error.
    fn note_modes(&mut self, event: Event, point: &Value) -> Result<bool> {
        let mut incremental = true;
        for disk in point["disks"].as_array().into_iter().flatten() {
            if disk["read_mode"]["mode"] == "incremental" {
                continue;
            }
            incremental = false;
            let reason = disk["read_mode"]["reason"].as_str().unwrap_or_default();
            if reason.is_empty() {
                bail!("a disk was read in full without a reason: {disk}");
            }
            // Without the names in it, which differ from run to run.
            let general = reason.split(" tresor-").next().unwrap_or(reason).to_owned();
            *self.results.reasons.entry((event, general)).or_default() += 1;
        }
        Ok(incremental)
    }

    fn objects(&self) -> Result<u64> {
        count_files(&self.dir.path().join("vault"))
    }

    /// Every point is there and sound, and the chosen ones are what the disks were.
    async fn conclude(&mut self) -> Result<()> {
        let listed = self.program.run(&["points", "list"]).await?.all()?;
        if listed.len() != self.points {
            bail!("{} points of {} are listed", listed.len(), self.points);
        }
        self.program.run(&["verify"]).await?.ok()?;
        for (point, copies) in std::mem::take(&mut self.copies) {
            let to = self.dir.path().join("restored");
            let shown = to.display().to_string();
            let words = ["restore", &point, "--to", &shown, "--format", "raw"];
            self.program.run(&words).await?.ok()?;
            for copy in copies {
                let image = to.join(format!("dev-{}.raw", copy.name));
                if let Some(difference) = compare_images(&copy.path, &image).await? {
                    let (disk, at) = (&copy.name, difference.offset);
                    self.failed(format!("point {point}, disk {disk}: differs at byte {at}"));
                }
            }
            fs::remove_dir_all(&to)?;
            self.results.compared += 1;
        }
        Ok(())
    }
}

fn count_files(dir: &Path) -> Result<u64> {
    let mut count = 0;
    let mut left: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
            } else {
                count += 1;
            }
        }
    }
    Ok(count)
}

/// CPU time of this process's children that have ended and were waited for.
fn children_cpu_ms() -> Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat
        .rsplit_once(')')
        .context("/proc/self/stat has another form")?;
    // Fields 16 and 17 of proc_pid_stat(5); `rest` begins with the third.
    let ticks = rest
        .split_ascii_whitespace()
        .skip(13)
        .take(2)
        .map(str::parse::<u64>);
    let sum = ticks.sum::<Result<u64, _>>()?;
    Ok(sum * 1000 / TICKS)
}
