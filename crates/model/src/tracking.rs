//! What says which parts of a disk changed, and whether it may be believed (invariant I6).

use serde::{Deserialize, Serialize};

use crate::SnapshotTag;

/// Kept with each disk of a recovery point: the signs by which the next backup judges the bitmap
/// that began recording at this point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackingLedger {
    /// The bitmap that has been recording since this point; `None` when the disk cannot have one.
    pub bitmap: Option<String>,
    /// The snapshot that made it.
    pub tag: SnapshotTag,
    /// Its granularity in bytes.
    pub granularity: u64,
    /// Whether it survives a clean stop of the VM.
    pub persistent: bool,
    /// Identity of the image: device and inode of the file, or what the provider has.
    pub image: String,
    /// Virtual size in bytes at this point.
    pub size: u64,
}

/// How a disk was read for a recovery point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "mode")]
pub enum ReadMode {
    /// Only what the dirty bitmap of the previous point lists.
    Incremental {
        /// The bitmap that was read.
        bitmap: String,
    },
    /// All allocated data.
    Full {
        /// Why nothing smaller would do.
        reason: String,
    },
}
