//! Memory and speed of the table of known chunks.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tresor_vault::IndexProbe;

/// Lookups of a kind.
const LOOKUPS: u64 = 100_000;

/// Builds a table of so many chunks in a file without a name in `dir`, and looks chunks up that
/// are there, that are not, and that are there once more with nothing cached.
pub(crate) fn measure(dir: &Path, entries: u64) -> Result<()> {
    ensure!(entries > 0, "a table of nothing tells nothing");
    fs::create_dir_all(dir)?;
    let mut out = io::stdout();
    let before = resident_mib()?;
    writeln!(
        out,
        "chunk ids: {entries}; {} TiB of data",
        (entries << 16) >> 40
    )?;
    let file: File = tempfile::tempfile_in(dir).context("no room for a table")?;
    let begin = Instant::now();
    let probe = IndexProbe::build(file.try_clone()?, entries)?;
    let seconds = begin.elapsed().as_secs_f64();
    let gib = file.metadata()?.len() as f64 / f64::from(1 << 30);
    writeln!(out, "built in {seconds:.1} s; {gib:.2} GiB on disk")?;
    writeln!(
        out,
        "resident: {before} MiB before, {} MiB with the table, {} MiB at most",
        resident_mib()?,
        peak_mib()?
    )?;
    file.sync_all()?;
    for (what, odd, cold) in [
        ("unknown", 1, false),
        ("known, cache dropped", 0, true),
        ("known, again", 0, false),
    ] {
        if cold {
            fs::write("/proc/sys/vm/drop_caches", "3").context("only root can drop caches")?;
        }
        let mut state = 1_u64;
        let begin = Instant::now();
        for _ in 0..LOOKUPS {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let number = state % entries * 2 + odd;
            ensure!(probe.has(number)? == (odd == 0), "{number} is {what}?");
        }
        let rate = LOOKUPS as f64 / begin.elapsed().as_secs_f64();
        writeln!(out, "{what}: {rate:.0} lookups/s")?;
    }
    writeln!(out, "resident at the end: {} MiB", resident_mib()?)?;
    Ok(())
}

pub(crate) fn resident_mib() -> Result<u64> {
    status_mib("VmRSS:")
}

/// The most that was resident since the start, or since the peak was reset.
pub(crate) fn peak_mib() -> Result<u64> {
    status_mib("VmHWM:")
}

fn status_mib(field: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    Ok(kib
        .context("the kernel says nothing of memory")?
        .parse::<u64>()?
        >> 10)
}
