//! An ext4 file system in a partition of a raw image, made and changed by e2fsprogs without
//! mounting it: no root, no loop device, no mount times.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tresor_model::Extent;

use super::budget::MIB;
use crate::process::{capture, tool};

/// First byte of the partition.
const PARTITION_START: u64 = MIB;
/// What the backup partition table needs behind it, rounded up.
const PARTITION_TAIL: u64 = MIB;
const BLOCK: u64 = 4096;
/// The time in every inode that e2fsprogs itself makes.
const CLOCK: (&str, &str) = ("E2FSPROGS_FAKE_TIME", "1790000000");

/// An image with its file system.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// The raw file.
    pub path: PathBuf,
}

impl Image {
    /// Makes the image, its partition table, and a file system with the content of `tree`.
    pub(super) fn create(path: &Path, size: u64, seed: u64, tree: &Path) -> Result<Self> {
        fs::File::create(path)
            .and_then(|file| file.set_len(size))
            .with_context(|| format!("cannot create {}", path.display()))?;
        let length = size - PARTITION_START - PARTITION_TAIL;
        partition(path, length, seed)?;
        let id = |part: &str| format!("11111111-2222-3333-{part}-{seed:012x}");
        let options = format!(
            "offset={PARTITION_START},hash_seed={},lazy_itable_init=0,lazy_journal_init=0",
            id("7777")
        );
        let mut mke2fs = e2fs_tool("mke2fs");
        mke2fs.args([
            "-q", "-F", "-t", "ext4", "-m", "1", "-L", "vmroot", "-b", "4096",
        ]);
        mke2fs
            .args(["-U", &id("6666"), "-E", &options, "-d"])
            .arg(tree)
            .arg(path);
        capture(mke2fs.arg(format!("{}k", length / 1024)))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// A copy, holes kept as holes and written zeros as zeros.
    pub(super) fn copy_to(&self, path: &Path) -> Result<Self> {
        let mut cp = Command::new("cp");
        cp.args(["--sparse=auto", "--reflink=never"])
            .arg(&self.path)
            .arg(path);
        capture(&mut cp)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Where the bytes of a file lie in the image, in the order of the file. `file` is relative
    /// to the root of the file system and has no holes.
    pub(super) fn extents_of(&self, file: &str) -> Result<Vec<Extent>> {
        let output = self.debugfs(&["-R", &format!("dump_extents -l /{file}")])?;
        let extents: Option<Vec<_>> = output.lines().skip(1).map(parse_extent).collect();
        let extents = extents.with_context(|| format!("cannot read the extents: {output}"))?;
        ensure!(
            !extents.is_empty(),
            "/{file} has no block in {}",
            self.path.display()
        );
        Ok(extents)
    }

    /// Runs commands that change the file system.
    pub(super) fn edit(&self, commands: &[String]) -> Result<()> {
        let mut script = tempfile::NamedTempFile::new()?;
        script.write_all(commands.join("\n").as_bytes())?;
        script.write_all(b"\n")?;
        let name = script.path().to_string_lossy().into_owned();
        self.debugfs(&["-w", "-f", &name]).map(drop)
    }

    /// Fails when the file system is not clean.
    pub(super) fn check(&self) -> Result<()> {
        let mut e2fsck = e2fs_tool("e2fsck");
        capture(e2fsck.args(["-f", "-n"]).arg(self.with_offset())).map(drop)
    }

    /// `debugfs` says on standard error what failed, and ends well all the same.
    fn debugfs(&self, arguments: &[&str]) -> Result<String> {
        let mut debugfs = e2fs_tool("debugfs");
        debugfs
            .args(arguments)
            .arg(self.with_offset())
            .env("DEBUGFS_PAGER", "__none__");
        let output = debugfs
            .output()
            .context("cannot run debugfs (package e2fsprogs)")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let errors: Vec<_> = errors
            .lines()
            .filter(|line| !line.starts_with("debugfs 1."))
            .collect();
        ensure!(
            output.status.success() && errors.is_empty(),
            "debugfs {arguments:?}: {errors:?}"
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn with_offset(&self) -> String {
        format!("{}?offset={PARTITION_START}", self.path.display())
    }
}

/// A line like ` 0/ 0   1/  1     0 -  2047  34816 -  36863   2048`.
fn parse_extent(line: &str) -> Option<Extent> {
    let fields: Vec<_> = line
        .split(|c: char| !c.is_ascii_digit())
        .filter(|f| !f.is_empty())
        .collect();
    let first: u64 = fields.get(6)?.parse().ok()?;
    let count: u64 = fields.get(8)?.parse().ok()?;
    Some(Extent {
        start: PARTITION_START + first * BLOCK,
        length: count * BLOCK,
    })
}

fn partition(path: &Path, length: u64, seed: u64) -> Result<()> {
    let table = format!(
        "label: gpt\nlabel-id: 11111111-2222-3333-4444-{seed:012x}\n\
         start={}, size={}, type=L, uuid=11111111-2222-3333-5555-{seed:012x}\n",
        PARTITION_START / 512,
        length / 512
    );
    let mut child = e2fs_tool("sfdisk")
        .arg("-q")
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run sfdisk (package fdisk)")?;
    child
        .stdin
        .take()
        .context("sfdisk has no input")?
        .write_all(table.as_bytes())?;
    ensure!(
        child.wait()?.success(),
        "sfdisk could not partition {}",
        path.display()
    );
    Ok(())
}

fn e2fs_tool(name: &str) -> Command {
    let mut command = tool(name);
    command.env(CLOCK.0, CLOCK.1);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_extent_as_debugfs_prints_it() {
        let line = " 1/ 1   2/  3     2048 -  4095  36864 -  38911   2048";
        let extent = parse_extent(line).unwrap();
        assert_eq!(extent.start, PARTITION_START + 36_864 * BLOCK);
        assert_eq!(extent.length, 2048 * BLOCK);
        assert_eq!(parse_extent("No extents"), None);
    }
}
