//! The two disk images that every tool is measured on: a disk, and the same disk a day later.
//!
//! Half of the disk is allocated: files of this machine's OS, logs, incompressible media,
//! database-like pages, blocks of written zeros, and holes. Until day 2 packages are upgraded,
//! pages updated in place, logs appended to and rotated, media added and files deleted: about
//! 2.5 % of the disk.
//!
//! Which files are taken, and all generated content, follows the seed; the OS files are those of
//! this machine, with their times. So two sets are alike, not equal: only results from one set may
//! be compared.

mod budget;
mod changes;
mod content;
mod day2;
mod filesystem;
mod random;
mod stage;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use self::{
    budget::{Budget, Changes, GIB},
    changes::ChangeList,
    filesystem::Image,
};
use super::{compare::differing_blocks, packages::Requirement};
use crate::term::say;

/// What making images needs.
pub(super) const REQUIREMENTS: [Requirement; 4] = [
    Requirement {
        program: "mke2fs",
        package: "e2fsprogs",
    },
    Requirement {
        program: "debugfs",
        package: "e2fsprogs",
    },
    Requirement {
        program: "e2fsck",
        package: "e2fsprogs",
    },
    Requirement {
        program: "sfdisk",
        package: "fdisk",
    },
];

/// Two images and what differs between them.
#[derive(Debug)]
pub(super) struct ImageSet {
    /// The disk.
    pub day1: PathBuf,
    /// The disk a day later.
    pub day2: PathBuf,
    /// The file with the list of changed extents.
    pub changed_file: PathBuf,
    /// Its content.
    pub changed: ChangeList,
}

impl ImageSet {
    /// Takes the images that lie in a directory.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let dir = dir
            .canonicalize()
            .with_context(|| format!("no directory {}", dir.display()))?;
        let [day1, day2, changed_file] =
            ["day1.raw", "day2.raw", "day2.changed.json"].map(|name| dir.join(name));
        let changed = ChangeList::load(&changed_file)?;
        for image in [&day1, &day2] {
            let meta = fs::metadata(image)
                .with_context(|| format!("cannot look at {}", image.display()))?;
            ensure!(
                meta.len() == changed.virtual_size,
                "{} has {} bytes, its change list is for {}",
                image.display(),
                meta.len(),
                changed.virtual_size
            );
        }
        Ok(Self {
            day1,
            day2,
            changed_file,
            changed,
        })
    }

    /// The images of this size and seed from `cache`, made when they are not there.
    pub(super) fn cached(cache: &Path, size_gib: u64, seed: u64) -> Result<Self> {
        let dir = cache.join(format!("images-{size_gib}-{seed}"));
        if !dir.exists() {
            say(&format!(
                "making images of {size_gib} GiB in {}",
                dir.display()
            ));
            make(&dir, size_gib * GIB, seed, &stage::system_dirs())?;
        }
        Self::open(&dir)
    }
}

/// Makes a set in `dir`, which appears when the set is whole.
fn make(dir: &Path, size: u64, seed: u64, sources: &[PathBuf]) -> Result<()> {
    let work = dir.with_extension("partial");
    if work.exists() {
        fs::remove_dir_all(&work).context("cannot remove images that are not whole")?;
    }
    let budget = Budget::of_disk(size);
    let tree = work.join("tree");
    say("  choosing files of this machine, generating the others");
    let stage = stage::build(&tree, &budget, seed, sources)?;
    say(&format!("  day 1: {} OS files", stage.system_files.len()));
    let day1 = Image::create(&work.join("day1.raw"), size, seed, &tree)?;
    write_zeros(&day1)?;
    day1.check()?;
    say("  day 2");
    let day2 = day1.copy_to(&work.join("day2.raw"))?;
    let scratch = work.join("new");
    day2::change(&day2, &stage, &Changes::of_disk(size), seed, &scratch)?;
    let changed = ChangeList::between(&day1.path, &day2.path)?;
    changed.save(&work.join("day2.changed.json"))?;
    say(&summary(&day1, &day2, &changed)?);
    fs::remove_dir_all(&tree)?;
    fs::remove_dir_all(&scratch)?;
    fs::rename(&work, dir).context("cannot give the images their name")
}

/// Turns the preallocated file into blocks of written zeros: they read as zeros, and no tool can
/// know that without reading them.
fn write_zeros(image: &Image) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    let disk = fs::File::options().write(true).open(&image.path)?;
    let zeros = [0; 4096];
    for extent in image.extents_of(stage::ZEROS)? {
        for at in (extent.start..extent.end()).step_by(zeros.len()) {
            disk.write_all_at(&zeros, at)?;
        }
    }
    Ok(())
}

fn summary(day1: &Image, day2: &Image, changed: &ChangeList) -> Result<String> {
    use std::os::unix::fs::MetadataExt as _;
    let allocated = fs::metadata(&day1.path)?.blocks() * 512;
    let mut small_blocks = 0;
    differing_blocks(&day1.path, &day2.path, 4096, |extent| {
        small_blocks += extent.length;
        true
    })?;
    let percent = |bytes: u64| bytes as f64 * 100.0 / changed.virtual_size as f64;
    Ok(format!(
        "  {:.0} % of the disk allocated; changed: {:.2} % in blocks of 4 KiB, {:.2} % in blocks \
         of 64 KiB, {} extents",
        percent(allocated),
        percent(small_blocks),
        percent(changed.total()),
        changed.extents.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Real images by the real tools, small: both file systems clean (`make` checks), about half
    /// allocated, a few percent changed, and the change list complete.
    #[test]
    fn small_images_are_as_promised() {
        for requirement in REQUIREMENTS {
            assert!(requirement.is_met(), "{requirement} is needed by this test");
        }
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("images");
        let size = 128 * budget::MIB;
        make(
            &dir,
            size,
            3,
            &[PathBuf::from("/usr/bin"), PathBuf::from("/usr/share")],
        )
        .unwrap();
        let set = ImageSet::open(&dir).unwrap();
        assert_eq!(set.changed.virtual_size, size);
        let share = set.changed.total() * 1000 / size;
        assert!((10..120).contains(&share), "{share} per mille changed");

        let copy = base.path().join("copy.raw");
        fs::copy(&set.day1, &copy).unwrap();
        let (from, to) = (
            fs::read(&set.day2).unwrap(),
            fs::File::options().write(true).open(&copy),
        );
        for change in &set.changed.extents {
            use std::os::unix::fs::FileExt as _;
            let range = usize::try_from(change.extent.start).unwrap()
                ..usize::try_from(change.extent.end()).unwrap();
            to.as_ref()
                .unwrap()
                .write_all_at(&from[range], change.extent.start)
                .unwrap();
        }
        let mut differs = false;
        differing_blocks(&copy, &set.day2, 4096, |_| {
            differs = true;
            false
        })
        .unwrap();
        assert!(!differs, "the change list lacks something");
    }
}
