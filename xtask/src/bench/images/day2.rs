//! What happens to the disk between day 1 and day 2.
//!
//! Every change lands on the blocks on which a running guest would have put it: upgrades go to
//! new inodes that take the old names, page updates hit the file's own blocks, what is appended to
//! a log takes new blocks (here in a file of its own beside it: the blocks are the same).

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tresor_model::Extent;

use super::{
    budget::{Changes, MIB},
    content::{PAGE, Vocabulary, rebuild, update_page, write_log, write_media},
    filesystem::Image,
    random::Random,
    stage::{LOG, MEDIA_DIR, Stage, TABLES},
};

/// Larger files are not rebuilt: one of them would be the whole day's change.
const LARGEST_UPGRADE: u64 = 24 * MIB;

/// Changes `image`, which is a copy of day 1, into day 2. `scratch` takes the new files' content
/// until the image has it.
pub(super) fn change(
    image: &Image,
    stage: &Stage,
    changes: &Changes,
    seed: u64,
    scratch: &Path,
) -> Result<()> {
    fs::create_dir_all(scratch)?;
    let vocabulary = Vocabulary::new(seed.wrapping_add(5));
    let mut commands = upgrade(stage, changes.upgrades, seed, scratch)?;
    commands.extend(rotate_logs(changes, seed, scratch, &vocabulary)?);
    commands.extend(exchange_media(changes.new_media, seed, scratch)?);
    image.edit(&commands)?;
    for (table, updates) in TABLES.into_iter().zip(changes.page_updates) {
        update_table(image, table, updates, seed, &vocabulary)
            .with_context(|| format!("cannot update /{table}"))?;
    }
    image.check()
}

/// Rebuilds files until `budget` bytes are.
fn upgrade(stage: &Stage, budget: u64, seed: u64, scratch: &Path) -> Result<Vec<String>> {
    let mut random = Random::for_part(seed, "upgrade");
    let mut files: Vec<_> = stage
        .system_files
        .iter()
        .filter(|(path, size)| (1..=LARGEST_UPGRADE).contains(size) && can_be_named(path))
        .collect();
    random.shuffle(&mut files);
    let (mut commands, mut left) = (Vec::new(), budget);
    for (number, (path, size)) in files.into_iter().enumerate() {
        if left == 0 {
            break;
        }
        left = left.saturating_sub(*size);
        let old = stage.root.join(path);
        let mut bytes = fs::read(&old).with_context(|| format!("cannot read {}", old.display()))?;
        if bytes.is_empty() {
            continue; // it shrank since it was listed: the tree holds links to live files
        }
        rebuild(&mut bytes, &mut random);
        let new = scratch.join(format!("upgrade-{number}"));
        fs::write(&new, bytes)?;
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            continue;
        };
        commands.extend(replace(
            &new,
            &dir.to_string_lossy(),
            &name.to_string_lossy(),
        ));
    }
    Ok(commands)
}

/// Whether a path can stand in a `debugfs` command as it is.
fn can_be_named(path: &Path) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    path.to_str().is_some_and(|text| text.chars().all(plain))
}

/// The way of a package manager: the new file is written beside the old one and takes its name.
fn replace(new: &Path, dir: &str, name: &str) -> [String; 5] {
    [
        format!("cd /{dir}"),
        format!("write {} {name}.dpkg-new", new.display()),
        format!("rm {name}"),
        format!("ln {name}.dpkg-new {name}"),
        format!("unlink {name}.dpkg-new"),
    ]
}

fn rotate_logs(
    changes: &Changes,
    seed: u64,
    scratch: &Path,
    words: &Vocabulary,
) -> Result<Vec<String>> {
    const DAY_MS: u64 = 86_400_000;
    let mut random = Random::for_part(seed, "log of day 2");
    let (appended, begun) = (scratch.join("log-appended"), scratch.join("log-begun"));
    write_log(
        &mut File::create(&appended)?,
        changes.log_append,
        90 * DAY_MS,
        words,
        &mut random,
    )?;
    write_log(
        &mut File::create(&begun)?,
        changes.log_new,
        91 * DAY_MS,
        words,
        &mut random,
    )?;
    let (dir, name) = LOG.rsplit_once('/').context("the log has no directory")?;
    Ok(vec![
        format!("cd /{dir}"),
        format!("rm {name}.4"),
        format!("ln {name} {name}.9"),
        format!("unlink {name}"),
        format!("write {} {name}.9-appended", appended.display()),
        format!("write {} {name}", begun.display()),
    ])
}

fn exchange_media(length: u64, seed: u64, scratch: &Path) -> Result<Vec<String>> {
    let new: PathBuf = scratch.join("new-media");
    write_media(
        &mut File::create(&new)?,
        length,
        &mut Random::for_part(seed, "new media"),
    )?;
    Ok(vec![
        format!("cd /{MEDIA_DIR}"),
        format!("write {} new.jpg", new.display()),
        "rm m0001.jpg".to_owned(),
    ])
}

/// Updates pages where they lie: `spread` of them anywhere, `hot` of them within 2 % of the table.
fn update_table(
    image: &Image,
    table: &str,
    (spread, hot): (u64, u64),
    seed: u64,
    rows: &Vocabulary,
) -> Result<()> {
    let extents = image.extents_of(table)?;
    let pages = extents.iter().map(|extent| extent.length).sum::<u64>() / PAGE as u64;
    anyhow::ensure!(pages > 0, "the table has no page");
    let mut random = Random::for_part(seed, &format!("updates of {table}"));
    let (hot_start, hot_pages) = (pages / 3, (pages / 50).max(1));
    let mut numbers: Vec<_> = (0..spread).map(|_| random.below(pages)).collect();
    numbers.extend((0..hot).map(|_| hot_start + random.below(hot_pages)));
    let disk = File::options().read(true).write(true).open(&image.path)?;
    for (lsn, number) in (2_u64 << 32..).step_by(97).zip(numbers) {
        let mut bytes = vec![0; PAGE];
        transfer(&extents, number, |at, range| {
            disk.read_exact_at(&mut bytes[range], at)
        })?;
        update_page(&mut bytes, number, lsn, rows, &mut random);
        transfer(&extents, number, |at, range| {
            disk.write_all_at(&bytes[range], at)
        })?;
    }
    Ok(())
}

/// Calls `access` for each block of a page with its place on the disk: the two blocks of a page
/// may lie in different extents.
fn transfer(
    extents: &[Extent],
    page: u64,
    mut access: impl FnMut(u64, std::ops::Range<usize>) -> std::io::Result<()>,
) -> Result<()> {
    const HALF: usize = PAGE / 2;
    for half in 0..2 {
        let offset = page * PAGE as u64 + (half * HALF) as u64;
        let at = place_of(extents, offset).context("the page lies behind the table")?;
        access(at, half * HALF..(half + 1) * HALF)?;
    }
    Ok(())
}

/// Where on the disk the byte at `offset` of a file lies.
fn place_of(extents: &[Extent], offset: u64) -> Option<u64> {
    let mut start = 0;
    extents.iter().find_map(|extent| {
        let within = offset.checked_sub(start)?;
        start += extent.length;
        (within < extent.length).then(|| extent.start + within)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_place_of_a_byte_in_a_file_of_several_extents() {
        let extents = [
            Extent {
                start: 1000,
                length: 10,
            },
            Extent {
                start: 50,
                length: 10,
            },
        ];
        assert_eq!(place_of(&extents, 0), Some(1000));
        assert_eq!(place_of(&extents, 9), Some(1009));
        assert_eq!(place_of(&extents, 10), Some(50));
        assert_eq!(place_of(&extents, 20), None);
    }

    #[test]
    fn only_plain_names_are_given_to_debugfs() {
        assert!(can_be_named(Path::new(
            "usr/lib/x86_64-linux-gnu/libc.so.6"
        )));
        assert!(!can_be_named(Path::new("usr/share/a file")));
        assert!(!can_be_named(Path::new("usr/share/\"x\"")));
    }
}
