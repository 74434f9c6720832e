//! Listing and reading recovery points.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::pin::pin;
use std::sync::Arc;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tresor_model::{PointId, RecoveryPoint, SessionId, VmId};
use tresor_vault_format::limits::END_LIMIT;
use tresor_vault_format::{Outcome, name};

use crate::error::{Error, ErrorKind, Result};
use crate::many::{Answer, read_lots};
use crate::marks::Marks;
use crate::record;
use crate::roster::Roster;
use crate::session::PointSummary;
use crate::standing::{PointMarks, Standing};
use crate::vault::{Inner, Vault};

/// The recovery points of a vault.
#[derive(Debug, Clone, Default)]
pub struct PointList {
    /// By time, oldest first; of one VM in the order in which they were made, whatever the clock
    /// showed.
    pub points: Vec<PointSummary>,
    /// Points that are deleted and can be brought back, in the same order.
    pub deleted: Vec<PointSummary>,
    /// What is marked of the points in both lists.
    pub marks: BTreeMap<PointId, PointMarks>,
    /// Points that cannot be read; the others are not affected.
    pub unreadable: Vec<PointId>,
    /// What is wrong with them, and with marks that cannot be read.
    pub damaged: Vec<Error>,
    /// Points of other domains: sealed by keys that this holder does not have, and is not meant to.
    pub elsewhere: usize,
    /// Of the points in both lists, those that another domain's holder has sealed: what they say of themselves
    /// is that one's word.
    pub others: BTreeSet<PointId>,
}

impl Vault {
    /// All recovery points but those that are gone.
    ///
    /// # Errors
    /// When the storage fails. A damaged end object is an entry of the list, not an error of it.
    pub async fn points(&self) -> Result<PointList> {
        Ok(self.read_points(false).await?.0)
    }

    /// All recovery points, also those that are deleted or gone but not yet removed, and the ids of
    /// those that are one of both. Marks are not in the list.
    ///
    /// # Errors
    /// As for [`Self::points`].
    pub async fn points_ever(&self) -> Result<(PointList, HashSet<PointId>)> {
        let (mut list, gone) = self.read_points(true).await?;
        let away: Vec<PointSummary> = list.deleted.drain(..).chain(gone).collect();
        let ids = away.iter().map(|point| point.id).collect();
        list.points.extend(away);
        list.points = in_order(list.points);
        Ok((list, ids))
    }

    /// The list, and with `ever` those that are gone, of which it does not tell.
    async fn read_points(&self, ever: bool) -> Result<(PointList, Vec<PointSummary>)> {
        let inner = &self.inner;
        // Marks first: collect deletes them last.
        let marks = Marks::read(inner, None).await?;
        let roster = Roster::list(inner).await?;
        let now = Timestamp::now();
        // Without a lock the end of a point that is gone need not be read.
        let ended = roster.ended.iter().copied();
        let ended: Vec<SessionId> = ended
            .filter(|session| ever || marks.lock.days > 0 || !marks.is_gone(*session, now))
            .collect();
        let (mut list, mut gone) = (PointList::default(), Vec::new());
        let locked = read_summaries(inner, ended, &marks, now, &mut list, &mut gone).await?;
        if !locked.is_empty() && inner.refresh_ring().await? {
            // Sealed by a key that is newer than what was read of the ring.
            let sessions = locked.into_iter().map(|(session, _)| session).collect();
            let still = read_summaries(inner, sessions, &marks, now, &mut list, &mut gone).await?;
            sort_out(inner, still, &mut list);
        } else {
            sort_out(inner, locked, &mut list);
        }
        list.leave_out_halves(&roster);
        list.damaged.extend(marks.damaged);
        list.points = in_order(list.points);
        list.deleted = in_order(list.deleted);
        Ok((list, gone))
    }

    /// The ids of all sessions that ever began or ended here.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn sessions(&self) -> Result<BTreeSet<SessionId>> {
        let roster = Roster::list(&self.inner).await?;
        Ok(roster.begun.union(&roster.ended).copied().collect())
    }

    /// One recovery point.
    ///
    /// # Errors
    /// [`ErrorKind::PointNotFound`], [`ErrorKind::PointExpired`], [`ErrorKind::PointDeleted`],
    /// [`ErrorKind::Damaged`]; when the storage fails.
    pub async fn point(&self, id: PointId) -> Result<RecoveryPoint> {
        let session = SessionId::from_uuid(*id.as_uuid());
        let object = name::session_end(session);
        let not_found = || Error::new(ErrorKind::PointNotFound { point: id });
        let inner = &self.inner;
        let bytes = inner.store.find(&object, END_LIMIT).await?;
        let bytes = bytes.ok_or_else(not_found)?;
        let end = record::decode_end(inner, session, &bytes)?;
        if end.outcome == Outcome::Aborted {
            return Err(not_found());
        }
        let marks = Marks::read(inner, Some(session)).await?;
        let marks = marks.of(session).with(marks.lock, Some(end.ended_ms));
        match marks.standing(Timestamp::now()) {
            Standing::Live => {}
            Standing::Deleted => return Err(Error::new(ErrorKind::PointDeleted { point: id })),
            Standing::Gone => return Err(Error::new(ErrorKind::PointExpired { point: id })),
        }
        let point = record::open(inner, session, &end, &bytes).await?;
        let begin = name::session_begin(session);
        // Without a begin it is no point that a list shows, but it may be whole: a begin that was lost
        // shall not keep anybody from a restore. Without both it was collected, and what was read is a
        // copy of long ago.
        if inner.store.stat(&begin).await?.is_none() && inner.store.stat(&object).await?.is_none() {
            return Err(not_found());
        }
        Ok(point)
    }
}

impl PointList {
    /// Gives a point back that is gone.
    fn add(
        &mut self,
        summary: PointSummary,
        marks: PointMarks,
        now: Timestamp,
    ) -> Option<PointSummary> {
        let id = summary.id;
        match marks.standing(now) {
            Standing::Live => self.points.push(summary),
            Standing::Deleted => self.deleted.push(summary),
            Standing::Gone => return Some(summary),
        }
        self.marks.insert(id, marks);
        None
    }

    /// An end without a begin is no point: docs/format/commit-protocol.md.
    fn leave_out_halves(&mut self, roster: &Roster) {
        let is_half = |point: &PointSummary| {
            let session = SessionId::from_uuid(*point.id.as_uuid());
            !roster.begun.contains(&session)
        };
        let lists = [&mut self.points, &mut self.deleted];
        let halves = lists
            .into_iter()
            .flat_map(|list| list.extract_if(.., |point| is_half(point)));
        for half in halves.collect::<Vec<_>>() {
            self.marks.remove(&half.id);
            let session = SessionId::from_uuid(*half.id.as_uuid());
            let begin = name::session_begin(session);
            self.add_unreadable(
                session,
                Error::damaged(begin, "the session has an end without a begin"),
            );
        }
    }

    fn add_unreadable(&mut self, session: SessionId, error: Error) {
        self.damaged.push(error);
        self.unreadable.push(PointId::from(session));
    }
}

/// Reads what a list shows, and into `gone` what it does not show any more; gives the points for
/// which there is no key.
async fn read_summaries(
    inner: &Arc<Inner>,
    sessions: Vec<SessionId>,
    marks: &Marks,
    now: Timestamp,
    list: &mut PointList,
    gone: &mut Vec<PointSummary>,
) -> Result<Vec<(SessionId, Error)>> {
    let mut locked = Vec::new();
    let wanted = sessions.into_iter();
    let wanted = wanted.map(|session| (session, name::session_end(session)));
    let lots = read_lots(&inner.store, wanted.collect(), END_LIMIT);
    let mut opened = pin!(
        lots.map(|lot| open_lot(inner, lot))
            .buffered(inner.pool.threads().max(1))
            .flat_map(stream::iter)
    );
    while let Some((session, found)) = opened.next().await {
        match found {
            Ok(Some(Opened {
                summary,
                ended_ms,
                is_own,
            })) => {
                let marks = marks.of(session).with(marks.lock, Some(ended_ms));
                if !is_own {
                    list.others.insert(summary.id);
                }
                gone.extend(list.add(summary, marks, now));
            }
            Ok(None) => {}
            // Collected since it was listed.
            Err(error) if error.is_gone() => {}
            Err(error) if matches!(error.kind(), ErrorKind::KeyMissing { .. }) => {
                locked.push((session, error));
            }
            Err(error) if error.object_and_reason().is_some() => {
                list.add_unreadable(session, error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(locked)
}

/// Who has all domains misses no key, unless the storage hides the newest ring.
fn sort_out(inner: &Inner, locked: Vec<(SessionId, Error)>, list: &mut PointList) {
    if inner.ring.is_whole() {
        for (session, error) in locked {
            list.add_unreadable(session, error);
        }
    } else {
        list.elsewhere = locked.len();
    }
}

/// Sorts points by time. A clock that was wrong for a while must not change the order of a VM's
/// points: one that was made earlier is never taken for later than what came after it.
fn in_order(mut points: Vec<PointSummary>) -> Vec<PointSummary> {
    points.sort_by_key(|point| (point.vm, point.age()));
    let mut keys: Vec<(Timestamp, VmId)> = Vec::with_capacity(points.len());
    let mut after: Option<(Timestamp, VmId)> = None;
    for point in points.iter().rev() {
        let time = match after {
            Some((time, vm)) if vm == point.vm => time.min(point.taken_at),
            _ => point.taken_at,
        };
        after = Some((time, point.vm));
        keys.push((time, point.vm));
    }
    let keys = keys.into_iter().rev();
    let mut keyed: Vec<_> = keys.zip(points).collect();
    // Stable: the order within a VM stays.
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, point)| point).collect()
}

/// What a list shows of the end of a session.
type Found = (SessionId, Result<Option<Opened>>);

/// What was opened of a point.
struct Opened {
    summary: PointSummary,
    /// The time in the end.
    ended_ms: i64,
    /// It was sealed in the domain in which this holder writes.
    is_own: bool,
}

/// Opens ends on the pool: ten thousand of them are a second of hashing, opening and parsing.
async fn open_lot(inner: &Arc<Inner>, lot: Vec<Answer<SessionId>>) -> Vec<Found> {
    let vault = Arc::clone(inner);
    let sessions: Vec<SessionId> = lot.iter().map(|(session, _)| *session).collect();
    let opened = inner.pool.run(move || {
        let open = |(session, bytes): Answer<SessionId>| {
            let found = bytes.and_then(|bytes| summary(&vault, session, &bytes));
            (session, found)
        };
        lot.into_iter().map(open).collect()
    });
    opened.await.unwrap_or_else(|_| {
        let failed = || Error::system("open the end of a session");
        let failed = |session| (session, Err(failed()));
        sessions.into_iter().map(failed).collect()
    })
}

/// `None` for a session that was aborted.
fn summary(vault: &Inner, session: SessionId, bytes: &[u8]) -> Result<Option<Opened>> {
    let end = record::decode_end(vault, session, bytes)?;
    let Outcome::Committed(commit) = &end.outcome else {
        return Ok(None);
    };
    let summary = record::open_summary(vault, session, bytes)?;
    Ok(Some(Opened {
        summary,
        ended_ms: end.ended_ms,
        is_own: vault.ring.is_of(commit.epoch, vault.domain),
    }))
}

#[cfg(test)]
mod tests {
    use tresor_model::Consistency;

    use super::*;

    fn point(vm: u128, sequence: u64, second: i64) -> PointSummary {
        let taken_at = Timestamp::from_second(second).expect("a time");
        PointSummary {
            id: PointId::from(SessionId::generate()),
            vm: VmId::from_uuid(uuid::Uuid::from_u128(vm)),
            vm_name: String::new(),
            taken_at,
            committed_at: taken_at,
            sequence,
            consistency: Consistency::Crash,
            disks: 0,
            size: 0,
            stored: 0,
            warnings: 0,
            copied_from: None,
        }
    }

    fn order(points: &[(u128, u64, i64)]) -> Vec<(u64, i64)> {
        let points = points
            .iter()
            .map(|(vm, sequence, at)| point(*vm, *sequence, *at));
        let sorted = in_order(points.collect()).into_iter();
        sorted
            .map(|point| (point.sequence, point.taken_at.as_second()))
            .collect()
    }

    #[test]
    fn a_clock_that_jumped_does_not_change_the_order_of_a_vm() {
        let ahead = [(1, 3, 20), (1, 2, 500), (1, 1, 10)];
        assert_eq!(order(&ahead), [(1, 10), (2, 500), (3, 20)]);
        let back = [(1, 3, 20), (1, 2, -500), (1, 1, 10)];
        assert_eq!(order(&back), [(1, 10), (2, -500), (3, 20)]);
    }

    #[test]
    fn vms_are_mixed_by_time_and_points_without_a_number_come_first() {
        let mixed = [(1, 1, 10), (2, 1, 15), (1, 2, 20), (1, 0, 5), (1, 0, 4)];
        let sorted = [(0, 4), (0, 5), (1, 10), (1, 15), (2, 20)];
        assert_eq!(order(&mixed), sorted);
    }
}
