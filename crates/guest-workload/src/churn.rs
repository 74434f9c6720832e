//! A known amount of change: random blocks of one large file are rewritten, seeded.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
};

use crate::{
    args::Args,
    random::Random,
    report::{During, Failure, conclude},
};

const MIB: u64 = 1 << 20;

/// Rewrites `--mib` MiB and syncs; with `--delete`, the file goes away afterwards (a file system
/// mounted with `discard` then discards what it held).
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let dir = args.path("dir")?;
    let total = args.number("mib", 0)?.saturating_mul(MIB);
    let file_bytes = args.number("file-mib", 64)?.max(1).saturating_mul(MIB);
    let block_bytes = (args.number("block-kib", 64)?.clamp(1, 1024) << 10).min(file_bytes);
    let mut random = Random::new(args.number("seed", 1)?);
    fs::create_dir_all(&dir).during("create", &dir)?;
    let path = dir.join("churn");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .during("open", &path)?;
    let mut block = vec![0; usize::try_from(block_bytes).unwrap_or(1 << 16)];
    let blocks = total.div_ceil(block_bytes);
    for _ in 0..blocks {
        random.fill(&mut block);
        let at = random.below(file_bytes / block_bytes) * block_bytes;
        file.write_all_at(&block, at).during("write", &path)?;
    }
    file.sync_all().during("sync", &path)?;
    if args.flag("delete") {
        fs::remove_file(&path).during("remove", &path)?;
    }
    conclude(true, &[("written", (blocks * block_bytes).to_string())])
}
