//! The append-only log: a line `SEQ PAYLOAD CHECKSUM` each, fsynced one by one.
//!
//! Whatever was fsynced must be found later; the last line may be torn by a crash, no other.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use crate::{
    args::Args,
    random::{Random, checksum},
    report::{During, Failure, conclude},
    status,
};

const FILE: &str = "tresor.log";

/// Appends records until told otherwise, and keeps the last fsynced sequence in the status file
/// (only ever behind, never ahead of the disk).
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let dir = args.path("dir")?;
    let status_file = args
        .text("status")
        .map_or_else(|| Path::new(status::RUN).join("log.last"), PathBuf::from);
    let interval = args.millis("interval-ms", 20)?;
    let rounds = args.rounds()?;
    let seed = args.number("seed", 1)?;
    fs::create_dir_all(&dir).during("create", &dir)?;
    let path = dir.join(FILE);
    let found = if path.exists() {
        read(&path)?
    } else {
        Found::default()
    };
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .during("open", &path)?;
    if found.torn_tail {
        // A crash tore the last line: what follows must not be glued to it.
        let whole = found.whole_bytes;
        file.set_len(whole).during("cut the torn tail of", &path)?;
    }
    let first = found.last + 1;
    for sequence in (first..).take(usize::try_from(rounds).unwrap_or(usize::MAX)) {
        let line = record(sequence, seed);
        file.write_all(line.as_bytes()).during("append to", &path)?;
        file.sync_data().during("sync", &path)?;
        status::put(&status_file, &sequence.to_string()).during("write", &status_file)?;
        status::rest(interval);
    }
    Ok(())
}

fn record(sequence: u64, seed: u64) -> String {
    let mut random = Random::new(seed ^ sequence.rotate_left(32));
    let payload: String = (0..4).map(|_| format!("{:016x}", random.next())).collect();
    let body = format!("{sequence} {payload}");
    format!("{body} {:016x}\n", checksum(body.as_bytes()))
}

#[derive(Default, Debug, PartialEq, Eq)]
struct Found {
    records: u64,
    last: u64,
    checksums_off: u64,
    gaps: u64,
    torn_tail: bool,
    whole_bytes: u64,
}

fn read(path: &Path) -> Result<Found, Failure> {
    let file = File::open(path).during("open", path)?;
    let mut reader = BufReader::new(file);
    let mut found = Found::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).during("read", path)?;
        if length == 0 {
            return Ok(found);
        }
        if line.last() != Some(&b'\n') {
            found.torn_tail = true;
            return Ok(found);
        }
        found.whole_bytes += length as u64;
        found.take(&line[..length - 1]);
    }
}

impl Found {
    fn take(&mut self, line: &[u8]) {
        let Some(sequence) = parse(line) else {
            self.checksums_off += 1;
            return;
        };
        self.records += 1;
        if sequence != self.last + 1 {
            self.gaps += 1;
        }
        self.last = sequence;
    }
}

/// The sequence of a whole record.
fn parse(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    let (body, sum) = text.rsplit_once(' ')?;
    let sum = u64::from_str_radix(sum, 16).ok()?;
    let (sequence, _) = body.split_once(' ')?;
    (sum == checksum(body.as_bytes())).then(|| sequence.parse().ok())?
}

/// Every record whole, none missing, and at least `--at-least` of them.
pub(crate) fn verify(args: &Args) -> Result<(), Failure> {
    let path = args.path("dir")?.join(FILE);
    let at_least = args.number("at-least", 0)?;
    let found = read(&path)?;
    let ok = found.checksums_off == 0 && found.gaps == 0 && found.last >= at_least;
    conclude(
        ok,
        &[
            ("records", found.records.to_string()),
            ("last", found.last.to_string()),
            ("checksums_off", found.checksums_off.to_string()),
            ("gaps", found.gaps.to_string()),
            ("torn_tail", found.torn_tail.to_string()),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_is_found() {
        let line = record(7, 1);
        let line = line.trim_end().as_bytes();
        assert_eq!(parse(line), Some(7));
        for at in 0..line.len() {
            let mut bad = line.to_vec();
            bad[at] ^= 1;
            assert_eq!(parse(&bad), None, "byte {at}");
        }
    }

    #[test]
    fn a_missing_record_is_a_gap() {
        let mut found = Found::default();
        for sequence in [1, 2, 4] {
            found.take(record(sequence, 1).trim_end().as_bytes());
        }
        assert_eq!((found.records, found.last, found.gaps), (3, 4, 1));
    }
}
