//! Where a disk's bytes lie in an image file.

use std::{fmt, str::FromStr};

use super::qcow2::Geometry;

/// Formats that a disk can be restored to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// The bytes of the disk, holes where it is zero.
    Raw,
    /// QEMU's format, version 3, 64 KiB clusters.
    Qcow2,
}

impl ImageFormat {
    /// The name, and the extension of the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }

    /// Distance from an offset in the disk to the offset in the file.
    pub(super) fn data_start(self, disk_size: u64) -> u64 {
        match self {
            Self::Raw => 0,
            Self::Qcow2 => Geometry::of(disk_size).data_start(),
        }
    }

    /// Length of the file.
    pub(super) fn file_size(self, disk_size: u64) -> u64 {
        match self {
            Self::Raw => disk_size,
            Self::Qcow2 => Geometry::of(disk_size).file_size(),
        }
    }
}

impl fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ImageFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "raw" => Ok(Self::Raw),
            "qcow2" => Ok(Self::Qcow2),
            other => Err(format!("`{other}` is no image format that can be written: raw, qcow2")),
        }
    }
}
