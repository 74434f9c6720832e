//! What says which parts of a disk changed, and whether it may be believed (invariant I6).

use serde::{Deserialize, Serialize};

use crate::{PointId, SnapshotTag};

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
    /// What else was seen, as far as it could be.
    #[serde(default)]
    pub signs: TrackingSigns,
}

/// Signs that a ledger may lack: the provider could not see them, or the point is older than they.
/// What is `None` is no reason for doubt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackingSigns {
    /// Identities of what lies below the image, in order: its data file, its backing images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Vec<String>>,
    /// Names of the bitmaps on the image when the snapshot was prepared, others' too; sorted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitmaps: Option<Vec<String>>,
    /// The process that has been recording since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<HypervisorProcess>,
    /// The last point for which the disk was read whole: what rests on no tracking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_whole: Option<PointId>,
}

/// A process of the hypervisor, told apart from every other one on this host at any time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HypervisorProcess {
    /// The host's boot (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since the boot.
    pub started: u64,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_of_an_older_point_knows_less_and_is_read() {
        let old = r#"{"bitmap":"tresor-0123456789-b","tag":"tresor-0123456789",
            "granularity":65536,"persistent":true,"image":"1:2","size":512}"#;
        let ledger: TrackingLedger = serde_json::from_str(old).expect("valid");
        assert_eq!(ledger.signs, TrackingSigns::default());
        let again = serde_json::to_string(&ledger).expect("plain data");
        let again: TrackingLedger = serde_json::from_str(&again).expect("valid");
        assert_eq!(again, ledger);
    }
}
