//! Files that are replaced by rename, and a journal that says afterwards what each must hold.
//!
//! Between the rename and the journal's line the directory is not consistent, whatever the file
//! system does: only a snapshot taken while this writer is parked shows none off.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::Path,
};

use crate::{
    args::Args,
    pause::Parkable,
    random::{Random, checksum},
    report::{During, Failure, conclude},
    status,
};

const JOURNAL: &str = "journal";

/// Replaces files in turn until told otherwise.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let dir = args.path("dir")?;
    let files = args.number("files", 64)?.max(1);
    let bytes = usize::try_from(args.number("kib", 64)?.clamp(1, 16 << 10) << 10).unwrap_or(1024);
    let gap = args.millis("gap-ms", 5)?;
    let interval = args.millis("interval-ms", 5)?;
    let rounds = args.rounds()?;
    let mut random = Random::new(args.number("seed", 1)?);
    fs::create_dir_all(&dir).during("create", &dir)?;
    let journal_path = dir.join(JOURNAL);
    let mut journal = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&journal_path)
        .during("open", &journal_path)?;
    let parkable = Parkable::register()?;
    let mut data = vec![0; bytes];
    for round in 0..rounds {
        random.fill(&mut data);
        let name = format!("file-{}", round % files);
        replace(&dir, &name, &data)?;
        status::rest(gap);
        let line = format!("{name} {:016x}\n", checksum(&data));
        journal
            .write_all(line.as_bytes())
            .during("append to", &journal_path)?;
        journal.sync_data().during("sync", &journal_path)?;
        parkable.park_if_asked()?;
        status::rest(interval);
    }
    Ok(())
}

fn replace(dir: &Path, name: &str, data: &[u8]) -> Result<(), Failure> {
    let path = dir.join(name);
    let temporary = dir.join("new");
    let mut file = File::create(&temporary).during("create", &temporary)?;
    file.write_all(data).during("write", &temporary)?;
    file.sync_data().during("sync", &temporary)?;
    fs::rename(&temporary, &path).during("rename to", &path)?;
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .during("sync", dir)
}

/// Every file holds what its last line in the journal says.
pub(crate) fn verify(args: &Args) -> Result<(), Failure> {
    let dir = args.path("dir")?;
    let (expected, torn) = read_journal(&dir.join(JOURNAL))?;
    let mut off = 0_u64;
    for (name, sum) in &expected {
        let path = dir.join(name);
        let whole = fs::read(&path).is_ok_and(|data| checksum(&data) == *sum);
        off += u64::from(!whole);
    }
    let unjournaled = count_files(&dir)?.saturating_sub(expected.len() as u64);
    let ok = off == 0 && unjournaled == 0 && !torn && !expected.is_empty();
    conclude(
        ok,
        &[
            ("records", expected.len().to_string()),
            ("checksums_off", off.to_string()),
            ("unjournaled", unjournaled.to_string()),
            ("torn_tail", torn.to_string()),
        ],
    )
}

fn read_journal(path: &Path) -> Result<(BTreeMap<String, u64>, bool), Failure> {
    let file = File::open(path).during("open", path)?;
    let mut expected = BTreeMap::new();
    let mut torn = false;
    for line in BufReader::new(file).lines() {
        let line = line.during("read", path)?;
        let entry = line
            .split_once(' ')
            .filter(|(_, sum)| sum.len() == 16)
            .and_then(|(name, sum)| Some((name, u64::from_str_radix(sum, 16).ok()?)));
        match entry {
            Some((name, sum)) => {
                expected.insert(name.to_owned(), sum);
            }
            None => torn = true,
        }
    }
    Ok((expected, torn))
}

fn count_files(dir: &Path) -> Result<u64, Failure> {
    let mut count = 0;
    for entry in fs::read_dir(dir).during("list", dir)? {
        let entry = entry.during("list", dir)?;
        count += u64::from(entry.file_name().to_string_lossy().starts_with("file-"));
    }
    Ok(count)
}
