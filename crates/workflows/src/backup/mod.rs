//! A backup: one recovery point of one VM, running or not.
//!
//! | sub-task | action | undo |
//! | --- | --- | --- |
//! | Prepare | look at the VM, begin the vault's session, make fleecing, judge bitmaps | end the session, end the snapshot as the vault says |
//! | Take snapshot | freeze, swap, thaw | thaw if the guest says it is frozen |
//! | Transfer data to vault | read what changed, store it; compare a share of what did not | none: unreferenced data |
//! | Commit recovery point | write the session's end: from here on the backup happened | never undone |
//! | Release snapshot | new bitmap replaces the old one, fleecing goes | never undone |
//!
//! # After a crash
//! The next backup of the VM finds the dead job and unwinds it with the same undos. Had the commit
//! been written, the point stays and the snapshot is ended as committed.

mod author;
mod commit;
mod context;
mod disk;
mod disks;
mod heal;
mod impact;
mod ladder;
mod order;
mod prepare;
mod release;
mod snapshot;
mod transfer;

pub use context::{BackupContext, BackupRequest, BackupServices};
pub use impact::GUEST_WRITES;
pub use order::{BackupCause, BackupLimits, BackupOrder, DEFAULT_TRANSFER_LIMIT};
pub use transfer::COMPRESSION;

use tresor_jobs::{JobPlan, KillPoint, RecoveryPolicy, SubTask};
use tresor_model::{JobId, JobKind, SessionId, SnapshotTag};

/// The table of sub-tasks.
#[must_use]
pub fn plan(job: JobId, order: &BackupOrder) -> JobPlan<BackupContext> {
    JobPlan {
        id: job,
        kind: JobKind::Backup,
        subject: order.vm_name.clone(),
        lock: Some(order.lock()),
        params: order.to_params(),
        recovery: RecoveryPolicy::Unwind,
        sub_tasks: sub_tasks(&order.limits),
    }
}

fn sub_tasks(limits: &BackupLimits) -> Vec<Box<dyn SubTask<BackupContext>>> {
    vec![
        Box::new(prepare::Prepare {
            limit: limits.prepare,
        }),
        Box::new(snapshot::TakeSnapshot {
            limit: limits.snapshot,
        }),
        Box::new(transfer::TransferData {
            limit: limits.transfer,
        }),
        Box::new(commit::Commit {
            limit: limits.commit,
        }),
        Box::new(release::ReleaseSnapshot {
            limit: limits.release,
        }),
    ]
}

/// Every place where a backup can be cut off.
#[must_use]
pub fn kill_points() -> Vec<KillPoint> {
    let table = tresor_jobs::specs(&sub_tasks(&BackupLimits::default()));
    tresor_jobs::kill_points(&table)
}

/// The vault session of a job: the same UUID, so that each is found from the other.
fn session_of(job: JobId) -> SessionId {
    SessionId::from_uuid(*job.as_uuid())
}

fn tag_of(job: JobId) -> SnapshotTag {
    SnapshotTag::of_job(job)
}
