//! Files of the Debian package, written with their modes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// The tree that becomes the package.
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// An empty one.
    pub(super) fn new(root: PathBuf) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        fs::create_dir_all(&root)?;
        Ok(Self { root })
    }

    pub(super) fn path(&self) -> &Path {
        &self.root
    }

    /// Writes a file and the directories above it.
    pub(super) fn write(&self, path: &str, mode: u32, bytes: impl AsRef<[u8]>) -> Result<()> {
        let to = self.root.join(path);
        let mut dir = to.parent().context("a file without a directory")?;
        fs::create_dir_all(dir)?;
        while dir != self.root {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
            dir = dir.parent().context("outside of the tree")?;
        }
        fs::write(&to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    /// The same, compressed as Debian wants its manuals and changelogs.
    pub(super) fn write_gz(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.write(path, 0o644, gzip(bytes)?)
    }

    /// How much it takes on disk, in KiB.
    pub(super) fn installed_kib(&self) -> Result<u64> {
        Ok(size(&self.root)?.div_ceil(1024))
    }
}

fn size(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += match meta.is_dir() {
            true => size(&entry.path())?,
            false => meta.len().next_multiple_of(4096),
        };
    }
    Ok(sum)
}

/// By `gzip`, without the time.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), bytes)?;
    let output = Command::new("gzip")
        .args(["-9", "-n", "-c"])
        .stdin(fs::File::open(file.path())?)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run gzip")?;
    if !output.status.success() {
        bail!("gzip fails");
    }
    Ok(output.stdout)
}
