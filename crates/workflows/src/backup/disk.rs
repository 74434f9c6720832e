//! One disk's way into the vault, again from the start when it turns out that the way was wrong.

use std::sync::atomic::{AtomicU64, Ordering};

use tresor_disk::{Session, SnapshotDisk};
use tresor_jobs::Scope;
use tresor_model::{
    DiskRecord, DiskStats, Extent, ReadMode, RereadRecord, RereadShare, StreamRecord,
    TrackingLedger,
};
use tresor_problem::{Kind, Problem};
use tresor_transfer::{
    backup::{self, Compared, Ending, Reread, Transfer},
    pace::Pacer,
};
use tresor_vault::WriteSession;

use super::{
    BackupContext,
    author::{NoBase, check_author},
    session_of,
};
use crate::{translate::transfer_problem, watch::watched};

/// What all disks of a backup share.
pub(super) struct Mover<'a> {
    pub(super) writer: &'a WriteSession,
    pub(super) snapshot: &'a dyn Session,
    pub(super) pacer: &'a Pacer,
    pub(super) scope: &'a Scope,
    /// Size of all disks together, for progress.
    pub(super) all_bytes: u64,
}

/// Why a disk has to be read again, whole.
struct Doubt {
    reason: String,
    problem: Problem,
    /// Whether the point before can still be built on.
    keep_base: bool,
    compared: Compared,
    stats: DiskStats,
}

impl Mover<'_> {
    /// Moves one disk; `before` bytes of others are done.
    pub(super) async fn move_disk(
        &self,
        ctx: &mut BackupContext,
        disk: &SnapshotDisk,
        before: u64,
    ) -> Result<DiskRecord, Problem> {
        let (parent, no_base) = parent_of(ctx, disk).map_or_else(
            |no_base| (None, Some(no_base)),
            |parent| (Some(parent), None),
        );
        let mode = read_mode(&disk.read_mode, no_base);
        let place = parent.as_ref().and_then(|parent| parent.reread);
        let kept = place.map(RereadRecord::not_this_time);
        let share = match &mode {
            ReadMode::Incremental { .. } => ctx.request.order.reread.decide_share(place.as_ref()),
            ReadMode::Full { .. } => None,
        };
        let reread = reread_of(ctx, share, parent.as_ref())?;
        let what = match mode {
            ReadMode::Incremental { .. } => backup::Scope::Changed(reread.as_ref()),
            ReadMode::Full { .. } => backup::Scope::Everything,
        };
        let base = parent.as_ref().map(|parent| &parent.stream);
        match self.attempt(ctx, disk, what, base, before).await? {
            Ok(moved) => {
                let looked = share.map(|share| share.record(moved.compared, 0));
                Ok(record(ctx, disk, mode, moved, looked.or(kept)))
            }
            Err(doubt) => {
                let Compared {
                    bytes, differing, ..
                } = doubt.compared;
                let looked = share.map(|share| share.record(bytes, differing));
                let (mode, moved) = self.read_whole(ctx, disk, base, before, doubt).await?;
                Ok(record(ctx, disk, mode, moved, looked.or(kept)))
            }
        }
    }

    /// Warns of the doubt, and reads the disk whole.
    async fn read_whole(
        &self,
        ctx: &mut BackupContext,
        disk: &SnapshotDisk,
        base: Option<&StreamRecord>,
        before: u64,
        doubt: Doubt,
    ) -> Result<(ReadMode, backup::DiskTransfer), Problem> {
        ctx.warn_of(self.scope, doubt.problem);
        // The VM does not vouch for it any more.
        let base = base.filter(|base| doubt.keep_base && ctx.services.vault.wrote(base));
        let whole = self.attempt(ctx, disk, backup::Scope::Everything, base, before);
        let mut moved = whole.await?.map_err(|doubt| doubt.problem)?;
        moved.stats = DiskStats {
            changed: moved.stats.changed,
            ..moved.stats.plus(&doubt.stats)
        };
        let reason = doubt.reason;
        Ok((ReadMode::Full { reason }, moved))
    }

    /// One try. The inner error is a reason to read the disk whole.
    async fn attempt(
        &self,
        ctx: &mut BackupContext,
        disk: &SnapshotDisk,
        what: backup::Scope<'_>,
        base: Option<&StreamRecord>,
        before: u64,
    ) -> Result<Result<backup::DiskTransfer, Doubt>, Problem> {
        let stream = self.writer.stream(disk.name.clone(), disk.size, base).await;
        let stream = stream.map_err(|error| ctx.vault_problem(&error))?;
        let done = AtomicU64::new(0);
        let transfer = Transfer {
            session: self.snapshot,
            disk,
            scope: what,
            lost: base.map_or(&[][..], |base| lost_of(ctx, base)),
            pacer: self.pacer,
            done: &done,
            cancel: self.scope.cancel(),
        };
        let ended = watched(transfer.run(stream), || {
            let at = before + done.load(Ordering::Relaxed);
            let message = format!("disk {}", disk.name);
            self.scope.progress(at, Some(self.all_bytes), message);
        });
        match ended.await {
            Ok(Ending::Moved(moved)) => Ok(Ok(moved)),
            Ok(Ending::Contradicted { compared, stats }) => {
                Ok(Err(contradicted(ctx, disk, compared, stats)))
            }
            Err(error) if base.is_some() && error.is_damage() => {
                let problem = transfer_problem(&error, ctx);
                Ok(Err(Doubt {
                    reason: format!("the last recovery point cannot be built on: {problem}"),
                    problem,
                    keep_base: false,
                    compared: Compared::default(),
                    stats: DiskStats::default(),
                }))
            }
            Err(error) => Err(transfer_problem(&error, ctx)),
        }
    }
}

/// What the vault has lost of the stream that is built on.
fn lost_of<'a>(ctx: &'a BackupContext, base: &StreamRecord) -> &'a [Extent] {
    ctx.lost.get(&base.name).map_or(&[], Vec::as_slice)
}

fn contradicted(
    ctx: &BackupContext,
    disk: &SnapshotDisk,
    compared: Compared,
    stats: DiskStats,
) -> Doubt {
    let offset = compared.first_difference.unwrap_or_default();
    let problem = Kind::TrackingContradicted {
        vm: ctx.request.order.vm_name.clone(),
        disk: disk.name.to_string(),
        offset: offset.to_string(),
    };
    Doubt {
        reason: format!(
            "the block at byte {offset} is not what the last recovery point has, and the tracking \
             lists no change there"
        ),
        problem: problem.into(),
        keep_base: true,
        compared,
        stats,
    }
}

/// What to compare, and with what.
fn reread_of(
    ctx: &BackupContext,
    share: Option<RereadShare>,
    parent: Option<&DiskRecord>,
) -> Result<Option<Reread>, Problem> {
    let (Some(share), Some(parent)) = (share, parent) else {
        return Ok(None);
    };
    let stream = ctx.services.vault.reader(&parent.stream);
    let stream = stream.map_err(|error| ctx.vault_problem(&error))?;
    Ok(Some(Reread::new(share, stream)))
}

/// How the disk is read: what did not change is taken over from the point before, so there has to be
/// one that may be built on.
fn read_mode(judged: &ReadMode, no_base: Option<NoBase>) -> ReadMode {
    match (judged, no_base) {
        (ReadMode::Incremental { .. }, Some(why)) | (_, Some(why @ NoBase::Elsewhere)) => {
            ReadMode::Full {
                reason: why.reason().to_owned(),
            }
        }
        (mode, _) => mode.clone(),
    }
}

/// The disk in the point before, as far as it can be built on: in a full read too, so that what did
/// not change is shared with it.
fn parent_of(ctx: &BackupContext, disk: &SnapshotDisk) -> Result<DiskRecord, NoBase> {
    if ctx.is_elsewhere {
        return Err(NoBase::Elsewhere);
    }
    let record = record_of(ctx, disk).ok_or(NoBase::Missing)?;
    check_author(ctx, record, &disk.read_mode)?;
    Ok(record.clone())
}

fn record_of<'a>(ctx: &'a BackupContext, disk: &SnapshotDisk) -> Option<&'a DiskRecord> {
    let disks = &ctx.parent.as_ref()?.disks;
    let name = ctx.bases.get(&disk.name)?;
    let record = disks.iter().find(|record| record.stream.name == *name)?;
    (record.stream.size <= disk.size).then_some(record)
}

fn record(
    ctx: &BackupContext,
    disk: &SnapshotDisk,
    read_mode: ReadMode,
    moved: backup::DiskTransfer,
    reread: Option<RereadRecord>,
) -> DiskRecord {
    let mut tracking = disk.tracking.clone();
    tracking.signs.last_whole = match read_mode {
        ReadMode::Full { .. } => Some(session_of(ctx.job).into()),
        ReadMode::Incremental { .. } => parent_of(ctx, disk).ok().and_then(whole_before),
    };
    DiskRecord {
        stream: moved.stream,
        read_mode,
        tracking,
        stats: moved.stats,
        reread,
    }
}

fn whole_before(parent: DiskRecord) -> Option<tresor_model::PointId> {
    let TrackingLedger { signs, .. } = parent.tracking;
    signs.last_whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(reason: &str) -> ReadMode {
        ReadMode::Full {
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn what_cannot_be_built_on_is_read_whole_and_says_why() {
        let changed = ReadMode::Incremental {
            bitmap: "b".to_owned(),
        };
        let cases = [
            (&changed, None, changed.clone()),
            (
                &changed,
                Some(NoBase::Missing),
                full("the last recovery point has nothing to build on"),
            ),
            (
                &changed,
                Some(NoBase::Elsewhere),
                full("the last point is of another domain"),
            ),
            (
                &changed,
                Some(NoBase::Stranger),
                full("the last recovery point was written by another machine"),
            ),
            (&full("no bitmap"), None, full("no bitmap")),
            (&full("no bitmap"), Some(NoBase::Missing), full("no bitmap")),
            (
                &full("no bitmap"),
                Some(NoBase::Stranger),
                full("no bitmap"),
            ),
            (
                &full("no bitmap"),
                Some(NoBase::Elsewhere),
                full("the last point is of another domain"),
            ),
        ];
        for (judged, no_base, expected) in cases {
            let mode = read_mode(judged, no_base);
            assert_eq!(mode, expected, "{judged:?} {no_base:?}");
        }
    }
}
