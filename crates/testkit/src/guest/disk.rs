//! The disks of a guest.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{Assets, LONG, image::make_ext4, run};

/// How a disk is kept in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskFormat {
    /// As it is.
    Raw,
    /// QEMU's own: can keep dirty bitmaps.
    Qcow2,
}

impl DiskFormat {
    /// In QEMU's words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// What a disk starts from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// The prepared system disk.
    System,
    /// The prepared data disk.
    Data,
    /// An empty ext4 file system of this many bytes.
    Empty(u64),
    /// A copy of an image that a test has: a restored disk.
    Copy(PathBuf),
}

/// A disk to be made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DiskPlan {
    pub(crate) name: String,
    pub(crate) format: DiskFormat,
    pub(crate) origin: Origin,
}

impl DiskPlan {
    fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.format.name())
    }

    pub(crate) fn in_dir(&self, dir: &Path) -> GuestDisk {
        GuestDisk {
            name: self.name.clone(),
            path: dir.join(self.file_name()),
            format: self.format,
        }
    }

    /// Makes the disk in `dir`.
    pub(crate) async fn make(&self, assets: &Assets, dir: &Path) -> Result<GuestDisk> {
        let disk = self.in_dir(dir);
        match &self.origin {
            Origin::System => self.copy(&assets.system_disk, &disk).await?,
            Origin::Data => self.copy(&assets.data_disk, &disk).await?,
            Origin::Copy(image) => copy_file(image, &disk.path).await?,
            Origin::Empty(bytes) => {
                make_ext4(&disk.path, self.format, *bytes, &self.name, None).await?;
            }
        }
        Ok(disk)
    }

    async fn copy(&self, qcow2: &Path, disk: &GuestDisk) -> Result<()> {
        match self.format {
            DiskFormat::Qcow2 => copy_file(qcow2, &disk.path).await,
            DiskFormat::Raw => crate::raw_copy(qcow2, &disk.path).await,
        }
    }
}

/// A disk of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestDisk {
    /// The node of its format in QEMU, and the serial that the guest sees. The device is
    /// `dev-NAME`, the node beneath `file-NAME`.
    pub name: String,
    /// The image.
    pub path: PathBuf,
    /// Its format.
    pub format: DiskFormat,
}

/// Copies a file with its holes, sharing blocks where the file system can.
pub(crate) async fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let from = from.to_str().context("a path is not UTF-8")?;
    let to = to.to_str().context("a path is not UTF-8")?;
    let args = ["--reflink=auto", "--sparse=always", from, to];
    run("cp", &args, LONG).await.map(drop)
}
