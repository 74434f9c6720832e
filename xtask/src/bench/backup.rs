//! `cargo xtask bench backup`: full, day 2, restore and verification by Tresor and its peers.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::{
    Options,
    compare::ensure_equal,
    images::{self, ImageSet},
    measure::{Cache, Phase, run_phase},
    packages::ensure_installed,
    peers::{self, Peer, Place, Step},
    report::{Row, mib, print_table, read_json, write_json},
    targets::{Kind, OURS, Verdict, judge},
};
use crate::{term::say, workspace};

/// A wall time is marked when others had more than this many CPUs meanwhile.
const DISTURBED: f64 = 0.2;

/// Runs the bench. Fails when a restored image differs from its source, or a tool fails; a missed
/// target is said, and is no failure.
pub(super) fn run(options: &Options) -> Result<()> {
    run_with(options, peers::all, |rows, images| {
        let tools = peers::all();
        let kind_of = |name: &str| kind_of(&tools, name);
        judge(rows, kind_of, mib(images.changed.total()))
    })
}

/// Runs tools on the images, prints what they took and how a judge finds that.
pub(super) fn run_with(
    options: &Options,
    all: fn() -> Vec<Box<dyn Peer>>,
    judge: impl Fn(&[Row], &ImageSet) -> Vec<Verdict>,
) -> Result<()> {
    let tools = chosen(all(), &options.only)?;
    let mut rows = match &options.peers_from {
        Some(path) => earlier_rows(path, &tools)?,
        None => Vec::new(),
    };
    let target = target_dir()?;
    let base = target.join("bench");
    fs::create_dir_all(&base)?;
    let requirements: Vec<_> = tools
        .iter()
        .flat_map(|tool| tool.requirements())
        .copied()
        .collect();
    ensure_installed(&requirements, options.no_install)?;
    let of_the_worker = [OURS, peers::MODEL];
    if tools
        .iter()
        .any(|tool| of_the_worker.contains(&tool.name()))
    {
        build_worker()?;
    }
    let images = match &options.images {
        Some(dir) => ImageSet::open(dir)?,
        None => {
            ensure_installed(&images::REQUIREMENTS, options.no_install)?;
            ImageSet::cached(&base, options.size_gib, options.seed)?
        }
    };
    let work = tempfile::Builder::new().prefix("run-").tempdir_in(&base)?;
    let mut failures = Vec::new();
    for tool in &tools {
        let place = Place {
            images: &images,
            dir: &work.path().join(tool.name()),
            target: &target,
        };
        if let Err(error) = measure_tool(tool.as_ref(), &place, &mut rows) {
            say(&format!("{}: {error:#}", tool.name()));
            failures.push(tool.name());
        }
        fs::remove_dir_all(place.dir).context("cannot remove a tool's store")?;
    }
    print_table(&rows)?;
    print_verdicts(&judge(&rows, &images))?;
    if let Some(path) = &options.json {
        write_json(&rows, path)?;
    }
    ensure!(failures.is_empty(), "failed: {}", failures.join(", "));
    Ok(())
}

fn chosen(all: Vec<Box<dyn Peer>>, only: &[String]) -> Result<Vec<Box<dyn Peer>>> {
    let names: Vec<_> = all.iter().map(|tool| tool.name()).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        bail!(
            "there is no tool `{unknown}`; there are: {}",
            names.join(", ")
        );
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|chosen| chosen == name);
    Ok(all.into_iter().filter(|tool| wanted(tool.name())).collect())
}

/// The rows of an earlier run, but for those of the tools that run now. They are marked: the
/// machine may have been busier then, or less.
fn earlier_rows(path: &Path, tools: &[Box<dyn Peer>]) -> Result<Vec<Row>> {
    const MARK: &str = "earlier run";
    let mut rows = read_json(path)?;
    rows.retain(|row| tools.iter().all(|tool| tool.name() != row.tool));
    for row in rows.iter_mut().filter(|row| !row.note.starts_with(MARK)) {
        row.note = if row.note.is_empty() {
            MARK.to_owned()
        } else {
            format!("{MARK}, {}", row.note)
        };
    }
    Ok(rows)
}

/// Where cargo builds to.
fn target_dir() -> Result<PathBuf> {
    let dir = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(workspace::root()?.join(dir))
}

fn build_worker() -> Result<()> {
    say("building tresor-bench");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--package", "tresor-bench"])
        .current_dir(workspace::root()?)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "tresor-bench does not build");
    Ok(())
}

/// Runs all steps of a tool. What was measured before a failure stays in `rows`.
fn measure_tool(tool: &dyn Peer, place: &Place<'_>, rows: &mut Vec<Row>) -> Result<()> {
    for dir in ["store", "restored", "cache", "logs"] {
        fs::create_dir_all(place.dir.join(dir))?;
    }
    fs::write(place.key(), "correct horse battery staple\n")?;
    fs::set_permissions(
        place.key(),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )?;
    tool.prepare(place)?;
    for step in tool.steps(place) {
        let case = step.case;
        say(&format!("{}: {case}", tool.name()));
        let name = step.yardstick.unwrap_or(tool.name());
        rows.push(measure_step(name, place, step).with_context(|| case.to_string())?);
    }
    Ok(())
}

fn measure_step(tool: &str, place: &Place<'_>, step: Step) -> Result<Row> {
    if let Some(mut before) = step.before {
        let output = before.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{before:?} failed: {said}");
    }
    let stored_before = size_on_disk(&step.store)?;
    let log = place.dir.join("logs").join(step.case.to_string());
    let cache = Cache::drop_all();
    let phase = run_phase(step.command, place.dir, &log)?;
    let grown = size_on_disk(&step.store)?.saturating_sub(stored_before);
    if let Some(restored) = &step.restores {
        ensure_equal(restored, &place.images.day2)?;
        fs::remove_file(restored)?;
    }
    let own = own_figures(&phase.output);
    Ok(Row {
        case: step.case,
        tool: tool.to_owned(),
        wall_s: phase.wall_s,
        user_s: phase.user_s,
        sys_s: phase.sys_s,
        peak_mib: mib(phase.peak),
        read_mib: mib(phase.read),
        stored_mib: mib(grown),
        image_read_mib: own.as_ref().and_then(|own| own.read).map(mib),
        flush_s: phase.flush_s,
        latency_ms: own.as_ref().and_then(OwnFigures::latency_ms),
        note: note(
            &phase,
            cache,
            step.note,
            step.restores.is_some(),
            own.as_ref(),
        ),
    })
}

/// What `tresor-bench` prints of its own counts.
#[derive(Debug, Deserialize)]
struct OwnFigures {
    /// Bytes read of the image.
    read: Option<u64>,
    /// Of these, not in the vault before.
    new: Option<u64>,
    /// Written to the vault for them.
    stored: Option<u64>,
    /// How frames were coded.
    levels: Option<String>,
    /// Median and 99th percentile of reads.
    median_us: Option<f64>,
    p99_us: Option<f64>,
}

impl OwnFigures {
    fn latency_ms(&self) -> Option<(f64, f64)> {
        Some((self.median_us? / 1000.0, self.p99_us? / 1000.0))
    }
}

fn own_figures(output: &str) -> Option<OwnFigures> {
    serde_json::from_str(output.lines().last()?).ok()
}

fn note(
    phase: &Phase,
    cache: Cache,
    step: &str,
    restored: bool,
    own: Option<&OwnFigures>,
) -> String {
    let mut parts = Vec::new();
    if !step.is_empty() {
        parts.push(step.to_owned());
    }
    for (name, bytes) in own.into_iter().flat_map(|own| {
        [
            ("image read", own.read),
            ("new", own.new),
            ("sealed", own.stored),
        ]
    }) {
        parts.extend(bytes.map(|bytes| format!("{name} {:.0} MiB", mib(bytes))));
    }
    parts.extend(own.and_then(|own| own.levels.clone()));
    if let Some((median, p99)) = own.and_then(OwnFigures::latency_ms) {
        parts.push(format!("median {median:.2} ms, p99 {p99:.2} ms"));
    }
    if restored {
        parts.push("identical".to_owned());
    }
    if phase.flush_s >= 0.05 {
        parts.push(format!("flush {:.1} s", phase.flush_s));
    }
    if phase.others_s > phase.wall_s * DISTURBED {
        parts.push(format!(
            "disturbed: others took {:.1} CPU s",
            phase.others_s
        ));
    }
    if cache == Cache::Kept {
        parts.push("page cache kept: not root".to_owned());
    }
    parts.join(", ")
}

/// Bytes that a directory takes on the disk.
fn size_on_disk(dir: &Path) -> Result<u64> {
    let mut total = 0;
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let entry = entry?;
        let meta = entry.metadata()?;
        total += meta.blocks() * 512;
        if meta.is_dir() {
            total += size_on_disk(&entry.path())?;
        }
    }
    Ok(total)
}

/// What a tool can be compared in.
pub(super) fn kind_of(tools: &[Box<dyn Peer>], name: &str) -> Kind {
    let tool = tools.iter().find(|tool| tool.name() == name);
    tool.map_or(
        Kind {
            comparable: false,
            compresses: false,
        },
        |tool| tool.kind(),
    )
}

fn print_verdicts(verdicts: &[Verdict]) -> Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout();
    writeln!(out)?;
    for verdict in verdicts {
        writeln!(out, "{verdict}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_tool_is_refused_with_the_names_that_there_are() {
        let Err(error) = chosen(peers::all(), &["brog".to_owned()]) else {
            panic!("`brog` was taken")
        };
        assert!(error.to_string().contains("borg"), "{error}");
        assert_eq!(chosen(peers::all(), &["zstd".to_owned()]).unwrap().len(), 1);
        assert_eq!(chosen(peers::all(), &[]).unwrap().len(), peers::all().len());
    }

    #[test]
    fn figures_are_the_last_line_that_the_worker_prints() {
        let own = own_figures("hello\n{\"read\":1048576,\"new\":7,\"stored\":3}\n").unwrap();
        assert_eq!(
            (own.read, own.new, own.stored),
            (Some(1_048_576), Some(7), Some(3))
        );
        assert!(own_figures("").is_none());
    }
}
