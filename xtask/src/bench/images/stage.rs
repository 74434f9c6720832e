//! The tree of files that day 1 is made from: hard links to (or copies of) files of this machine,
//! and generated files.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufWriter, Seek as _, SeekFrom, Write},
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    budget::{Budget, MIB},
    content::{PAGE, Vocabulary, page, write_log, write_media},
    random::{Random, hash},
};

/// Where the generated files lie within the image.
pub(super) const MEDIA_DIR: &str = "srv/media";
pub(super) const TABLES: [&str; 3] = [
    "srv/db/base.16384",
    "srv/db/base.16385",
    "srv/db/base.16386",
];
pub(super) const LOG: &str = "var/log/app/app.log";
pub(super) const ZEROS: &str = "srv/img/prealloc.bin";
const SPARSE: &str = "srv/img/guest.img";

/// What the tables' pages begin their log sequence numbers with.
const FIRST_LSN: u64 = 1 << 32;

/// Larger files of this machine are left out: they are caches and images, not an OS.
const LARGEST_SYSTEM_FILE: u64 = 256 * MIB;

const DAY_MS: u64 = 86_400_000;

/// A finished tree.
#[derive(Debug)]
pub(super) struct Stage {
    /// Its directory.
    pub root: PathBuf,
    /// The regular files of this machine in it, relative to `root`, with their sizes.
    pub system_files: Vec<(PathBuf, u64)>,
}

/// Directories of this machine that the OS part is chosen from.
pub(super) fn system_dirs() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = ["/usr", "/opt", "/var/lib/dpkg", "/etc"]
        .map(PathBuf::from)
        .into();
    if let Some(home) = std::env::home_dir() {
        dirs.extend([home.join(".rustup"), home.join(".cargo/registry")]);
    }
    dirs
}

/// Builds the tree under `root`.
pub(super) fn build(root: &Path, budget: &Budget, seed: u64, sources: &[PathBuf]) -> Result<Stage> {
    let system_files = stage_system(root, budget.system, seed, sources)?;
    let vocabulary = Vocabulary::new(seed);
    stage_media(root, budget.media, seed).context("cannot write the media files")?;
    stage_tables(root, budget.database, seed, &vocabulary).context("cannot write the tables")?;
    stage_logs(root, budget.logs, seed, &vocabulary).context("cannot write the logs")?;
    stage_special(root, budget, seed).context("cannot write the sparse and the zero file")?;
    Ok(Stage {
        root: root.to_owned(),
        system_files,
    })
}

/// Takes whole directories of this machine in a seeded order, what every OS disk has first, until
/// the budget is spent.
fn stage_system(
    root: &Path,
    budget: u64,
    seed: u64,
    sources: &[PathBuf],
) -> Result<Vec<(PathBuf, u64)>> {
    const ALWAYS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/var/lib/dpkg", "/etc"];
    let mut dirs = Vec::new();
    for source in sources {
        collect_dirs(source, &mut dirs);
    }
    dirs.sort_by_cached_key(|dir| {
        let late = !ALWAYS.iter().any(|always| dir.starts_with(always));
        (
            late,
            hash(seed, dir.as_os_str().as_encoded_bytes()),
            dir.clone(),
        )
    });
    let (mut staged, mut seen, mut spent) = (Vec::new(), HashSet::new(), 0);
    for dir in dirs {
        if spent >= budget {
            break;
        }
        for path in sorted_entries(&dir) {
            if let Some((path, size)) = stage_file(root, &path, &mut seen) {
                spent += size.next_multiple_of(4096);
                staged.push((path, size));
            }
            if spent >= budget {
                break;
            }
        }
    }
    anyhow::ensure!(
        spent > 0,
        "no file of this machine could be read below {sources:?}"
    );
    Ok(staged)
}

/// The directory and all below it. What cannot be read (or vanishes) is passed over.
fn collect_dirs(dir: &Path, dirs: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    dirs.push(dir.to_owned());
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_dirs(&entry.path(), dirs);
        }
    }
}

fn sorted_entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    paths
}

/// Puts a file or link of this machine into the tree; `Some` when it is a file with content.
/// One that cannot be had is left out: any other file is as good.
fn stage_file(root: &Path, path: &Path, seen: &mut HashSet<(u64, u64)>) -> Option<(PathBuf, u64)> {
    let meta = fs::symlink_metadata(path).ok()?;
    let relative = path.strip_prefix("/").ok()?;
    let target = root.join(relative);
    fs::create_dir_all(target.parent()?).ok()?;
    if meta.is_symlink() {
        symlink(fs::read_link(path).ok()?, &target).ok()?;
        return None;
    }
    let wanted = meta.is_file() && meta.len() <= LARGEST_SYSTEM_FILE;
    if !wanted || !seen.insert((meta.dev(), meta.ino())) {
        return None;
    }
    fs::hard_link(path, &target)
        .or_else(|_| fs::copy(path, &target).map(drop))
        .ok()?;
    Some((relative.to_owned(), meta.len()))
}

fn stage_media(root: &Path, budget: u64, seed: u64) -> io::Result<()> {
    let count = (budget / (32 * MIB)).max(2);
    for number in 0..count {
        let name = format!("{MEDIA_DIR}/m{number:04}.jpg");
        let mut random = Random::for_part(seed, &name);
        let length = (budget / count).saturating_sub(random.below(65_536));
        write_file(&root.join(name), |out| {
            write_media(out, length, &mut random)
        })?;
    }
    Ok(())
}

fn stage_tables(root: &Path, budget: u64, seed: u64, rows: &Vocabulary) -> io::Result<()> {
    let pages = budget / PAGE as u64;
    for (name, share) in TABLES.into_iter().zip([70, 20, 10]) {
        let mut random = Random::for_part(seed, name);
        write_file(&root.join(name), |out| {
            for number in 0..pages * share / 100 {
                let lsn = FIRST_LSN + random.below(1 << 20);
                out.write_all(&page(number, lsn, rows, &mut random))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn stage_logs(root: &Path, budget: u64, seed: u64, words: &Vocabulary) -> io::Result<()> {
    for day in 0..5 {
        let name = if day == 0 {
            LOG.to_owned()
        } else {
            format!("{LOG}.{day}")
        };
        let mut random = Random::for_part(seed, &name);
        write_file(&root.join(name), |out| {
            write_log(out, budget / 5, day * DAY_MS, words, &mut random)
        })?;
    }
    Ok(())
}

/// The sparse file, and the file whose blocks become zeros once the image has them: `mke2fs -d`
/// would make holes of zeros, so its content here is anything else.
fn stage_special(root: &Path, budget: &Budget, seed: u64) -> io::Result<()> {
    const ISLANDS: u64 = 16;
    write_file(&root.join(SPARSE), |out| {
        let mut random = Random::for_part(seed, SPARSE);
        for island in 0..ISLANDS {
            out.seek(SeekFrom::Start(budget.sparse / ISLANDS * island))?;
            write_media(out, 65_536.min(budget.sparse / ISLANDS / 2), &mut random)?;
        }
        out.flush()?;
        out.get_ref().set_len(budget.sparse)
    })?;
    write_file(&root.join(ZEROS), |out| {
        for _ in 0..budget.zeros / 4096 {
            out.write_all(&[0xa5; 4096])?;
        }
        Ok(())
    })
}

fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut out = BufWriter::with_capacity(1 << 18, File::create(path)?);
    write(&mut out)?;
    out.flush()
}
