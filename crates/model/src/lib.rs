//! The words of Tresor as types: ids, extents, consistency, machine definitions, recovery points,
//! jobs and facts.
//!
//! Pure: no I/O, no clock, no async. Everything here that is stored (in the vault or the catalog)
//! is JSON with named members; readers ignore members they do not know, and a member's meaning
//! never changes.

mod consistency;
mod extent;
mod fact;
mod id;
mod job;
mod machine;
mod point;
mod reread;
mod standing;
mod tracking;
mod verify_share;

pub use consistency::{Consistency, ConsistencyReport, Rung, RungAttempt};
pub use extent::{Extent, ExtentSet};
pub use fact::{Fact, Observation};
pub use id::{
    AlertId, AuditId, HostId, IdError, JobId, NotificationId, PointId, SessionId, SnapshotTag,
    StreamName, TokenId, VaultId, VmId,
};
pub use job::{CopyReadBack, JobKind, JobState, SubTaskState, UnwindReason};
pub use machine::{
    Attachment, AttachmentRole, Firmware, HypervisorSource, MachineDefinition, MachineDisk,
    NetworkCard, TPM_STATE_FILES,
};
pub use point::{CopiedFrom, DiskRecord, DiskStats, NodeRef, RecoveryPoint, StreamRecord};
pub use reread::{RereadFraction, RereadFractionError, RereadRecord, RereadShare};
pub use standing::{HostState, ItemState, TokenRole};
pub use tracking::{HypervisorProcess, ReadMode, TrackingLedger, TrackingSigns};
pub use verify_share::{VerifyShare, VerifyShareError};
