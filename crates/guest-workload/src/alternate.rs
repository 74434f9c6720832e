//! A counter written to disk A, then to disk B, each synced: at any one point in time
//! `B <= A <= B + 1`. A pair of disks that breaks this was not taken at one point in time.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::{
    args::Args,
    random::checksum,
    report::{During, Failure, conclude},
    status,
};

const FILE: &str = "counter";

/// Counts until told otherwise.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (path_a, path_b) = paths(args)?;
    let interval = args.millis("interval-ms", 5)?;
    let rounds = args.rounds()?;
    let (a, b) = (open(&path_a)?, open(&path_b)?);
    let mut count = read(&path_a)?.max(read(&path_b)?);
    for _ in 0..rounds {
        count += 1;
        write(&a, &path_a, count)?;
        write(&b, &path_b, count)?;
        status::put(
            &Path::new(status::RUN).join("alternate.last"),
            &count.to_string(),
        )
        .during("write", Path::new(status::RUN))?;
        status::rest(interval);
    }
    Ok(())
}

fn paths(args: &Args) -> Result<(PathBuf, PathBuf), Failure> {
    Ok((args.path("a")?.join(FILE), args.path("b")?.join(FILE)))
}

fn open(path: &Path) -> Result<File, Failure> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).during("create", parent)?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .during("open", path)
}

/// One sector, overwritten in place: old or new, never half.
fn write(file: &File, path: &Path, count: u64) -> Result<(), Failure> {
    let body = format!("{count:020}");
    let line = format!("{body} {:016x}\n", checksum(body.as_bytes()));
    file.write_all_at(line.as_bytes(), 0)
        .during("write", path)?;
    file.sync_data().during("sync", path)
}

/// The counter; 0 in a file that was never written.
fn read(path: &Path) -> Result<u64, Failure> {
    let text = fs::read_to_string(path).during("read", path)?;
    if text.is_empty() {
        return Ok(0);
    }
    parse(&text).ok_or_else(|| Failure::Io {
        what: format!("decode {}", path.display()),
        source: std::io::ErrorKind::InvalidData.into(),
    })
}

fn parse(text: &str) -> Option<u64> {
    let (body, sum) = text.trim_end().split_once(' ')?;
    let sum = u64::from_str_radix(sum, 16).ok()?;
    (sum == checksum(body.as_bytes())).then(|| body.parse().ok())?
}

/// `B <= A <= B + 1`, and something was written at all.
pub(crate) fn verify(args: &Args) -> Result<(), Failure> {
    let (path_a, path_b) = paths(args)?;
    let (a, b) = (read(&path_a)?, read(&path_b)?);
    let ok = b <= a && a <= b + 1 && a > 0;
    conclude(ok, &[("a", a.to_string()), ("b", b.to_string())])
}
