//! The recovery point: what a commit puts into the vault.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ConsistencyReport, Fact, JobId, MachineDefinition, PointId, ReadMode, RereadRecord, StreamName,
    TrackingLedger, VaultId, VmId,
};

/// Where a manifest node lies in a vault. See docs/format/manifest.md.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeRef {
    /// Keyed hash of the content of the node, 64 hex digits.
    pub id: String,
    /// The pack that holds it, 32 hex digits.
    pub pack: String,
    /// First byte of its frame within the pack.
    pub offset: u32,
    /// Stored length of the frame in bytes.
    pub length: u32,
    /// First byte of the node within the opened frame.
    pub at: u32,
    /// Length of the node in bytes.
    pub size: u32,
}

/// Where a recovery point comes from that was copied from another vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedFrom {
    /// The vault in which the backup was made; of a copy of a copy too.
    pub vault: VaultId,
    /// The recovery point there. All copies of one backup have the same.
    pub point: PointId,
    /// When it was copied.
    pub at: Timestamp,
}

/// A restorable state of a VM. Immutable once committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryPoint {
    /// Its id.
    pub id: PointId,
    /// The VM's identity.
    pub vm: VmId,
    /// The name under which the VM was registered.
    pub vm_name: String,
    /// The moment whose data this is: the snapshot's.
    pub taken_at: Timestamp,
    /// When the commit was written.
    pub committed_at: Timestamp,
    /// The job that made it.
    pub job: JobId,
    /// The point that this one was read against; `None` for a first backup. For information:
    /// every point can be read without any other.
    pub parent: Option<PointId>,
    /// Tells the order of the VM's points also when the clock has jumped: one more than the last
    /// one's, from 1; by who sees one domain only, at least the seconds since 1970, so that it comes
    /// after points that are not seen. 0: made by a program that did not count.
    #[serde(default)]
    pub sequence: u64,
    /// The backup that this is a copy of; `None`: it was made in this vault. Everything else but
    /// the id and what was moved is as it was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<CopiedFrom>,
    /// Achieved consistency and its evidence.
    pub consistency: ConsistencyReport,
    /// The machine.
    pub machine: MachineDefinition,
    /// The disks.
    pub disks: Vec<DiskRecord>,
    /// The machine's attachments.
    pub attachments: Vec<StreamRecord>,
    /// What was observed while it was made.
    #[serde(default)]
    pub facts: Vec<Fact>,
    /// Warnings for whoever restores it, by problem code or in words.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Packs of this vault, by their ids in hex, that were marked as damaged when it was made: what
    /// the point before had in them was looked for, and what was lost was read from the disk again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damage_seen: Vec<String>,
}

/// A byte stream in a vault: a disk's content or an attachment's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRecord {
    /// Name within the recovery point.
    pub name: StreamName,
    /// Size in bytes.
    pub size: u64,
    /// Root of its manifest tree; `None` when it is all zeros.
    pub root: Option<NodeRef>,
}

/// A disk in a recovery point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRecord {
    /// Its content.
    #[serde(flatten)]
    pub stream: StreamRecord,
    /// How it was read, and why so.
    pub read_mode: ReadMode,
    /// The signs for the next backup.
    pub tracking: TrackingLedger,
    /// What the backup moved.
    pub stats: DiskStats,
    /// How far the tracking has been checked by re-reading; `None` when it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reread: Option<RereadRecord>,
}

/// What a backup moved, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStats {
    /// Marked as changed by the tracking (all allocated data in a full).
    pub changed: u64,
    /// Read from the snapshot.
    pub read: u64,
    /// Of these, all zeros.
    pub zero: u64,
    /// Of these, not in the vault before.
    pub new: u64,
    /// Written to the vault for them, compressed and sealed.
    pub stored: u64,
}

impl DiskStats {
    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            changed: self.changed + other.changed,
            read: self.read + other.read,
            zero: self.zero + other.zero,
            new: self.new + other.new,
            stored: self.stored + other.stored,
        }
    }
}
