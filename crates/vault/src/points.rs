//! Listing and reading recovery points.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use tresor_model::{PointId, RecoveryPoint, SessionId, VmId};
use tresor_vault_format::limits::{END_LIMIT, SMALL_OBJECT};
use tresor_vault_format::name::SessionObject;
use tresor_vault_format::{ExpiryMark, Outcome, SessionEnd, name};

use crate::error::{Error, ErrorKind, Result};
use crate::session::PointSummary;
use crate::vault::{Inner, Vault};

/// The recovery points of a vault.
#[derive(Debug, Clone, Default)]
pub struct PointList {
    /// By time, oldest first; of one VM in the order in which they were made, whatever the clock
    /// showed.
    pub points: Vec<PointSummary>,
    /// Points that cannot be read; the others are not affected.
    pub damaged: Vec<Error>,
}

impl Vault {
    /// All recovery points but those that have expired.
    ///
    /// # Errors
    /// When the storage fails. A damaged end object is an entry of the list, not an error of it.
    pub async fn points(&self) -> Result<PointList> {
        let inner = &self.inner;
        // Marks first: collect deletes them last.
        let expired = expired(inner).await?;
        let listed = inner.store.list(name::SESSIONS).await?;
        let (mut begun, mut ended) = (BTreeSet::new(), Vec::new());
        for meta in &listed {
            match name::parse_session_object(meta.name.as_str()) {
                Some(SessionObject::Begin(session)) => drop(begun.insert(session)),
                Some(SessionObject::End(session)) if !expired.contains(&session) => {
                    ended.push(session);
                }
                _ => {}
            }
        }
        let begun = &begun;
        let mut summaries = stream::iter(ended)
            .map(async |session| match summary(inner, session).await {
                Ok(Some(_)) if !begun.contains(&session) => {
                    let begin = name::session_begin(session);
                    Err(Error::damaged(begin, WITHOUT_BEGIN))
                }
                // Collected since it was listed.
                Err(error) if error.is_gone() => Ok(None),
                summary => summary,
            })
            .buffer_unordered(inner.store.parallelism());
        let mut list = PointList::default();
        while let Some(found) = summaries.next().await {
            match found {
                Ok(Some(summary)) => list.points.push(summary),
                Ok(None) => {}
                Err(error) if error.object_and_reason().is_some() => list.damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        list.points = in_order(list.points);
        Ok(list)
    }

    /// The ids of all sessions that ever began or ended here.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn sessions(&self) -> Result<BTreeSet<SessionId>> {
        let listed = self.inner.store.list(name::SESSIONS).await?;
        let sessions = listed.iter().filter_map(|meta| {
            let object = name::parse_session_object(meta.name.as_str())?;
            let (SessionObject::Begin(session) | SessionObject::End(session)) = object;
            Some(session)
        });
        Ok(sessions.collect())
    }

    /// Marks a recovery point as expired: from now on it is not listed and not restored. Its space is
    /// freed by collect, later. Marking twice is marking once.
    ///
    /// # Errors
    /// [`ErrorKind::PointNotFound`]; when the storage fails.
    pub async fn expire(&self, id: PointId) -> Result<()> {
        let session = SessionId::from_uuid(*id.as_uuid());
        match self.point(id).await {
            Ok(_) => {}
            // A point that is damaged may go as well.
            Err(error) if error.object_and_reason().is_some() => {}
            Err(error) if matches!(error.kind(), ErrorKind::PointExpired { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        let mark = ExpiryMark {
            vault: self.inner.id,
            session,
            marked_ms: Timestamp::now().as_millisecond(),
        };
        let object = Bytes::from(mark.encode());
        // Who was faster marked the same.
        self.inner
            .store
            .put(&name::expired(session), object)
            .await?;
        Ok(())
    }

    async fn is_expired(&self, session: SessionId) -> Result<bool> {
        let mark = name::expired(session);
        Ok(self.inner.store.find(&mark, SMALL_OBJECT).await?.is_some())
    }

    /// One recovery point.
    ///
    /// # Errors
    /// [`ErrorKind::PointNotFound`], [`ErrorKind::PointExpired`], [`ErrorKind::Damaged`]; when the storage fails.
    pub async fn point(&self, id: PointId) -> Result<RecoveryPoint> {
        let session = SessionId::from_uuid(*id.as_uuid());
        let object = name::session_end(session);
        let not_found = || Error::new(ErrorKind::PointNotFound { point: id });
        let bytes = self.inner.store.find(&object, END_LIMIT).await?;
        let bytes = bytes.ok_or_else(not_found)?;
        if committed(&self.inner, session, &bytes)? && self.is_expired(session).await? {
            return Err(Error::new(ErrorKind::PointExpired { point: id }));
        }
        let point = open_record(&self.inner, session, &bytes)?.ok_or_else(not_found)?;
        let begin = name::session_begin(session);
        // Without a begin it is no point that a list shows, but it may be whole: a begin that was lost
        // shall not keep anybody from a restore. Without both it was collected, and what was read is a
        // copy of long ago.
        let store = &self.inner.store;
        if store.stat(&begin).await?.is_none() && store.stat(&object).await?.is_none() {
            return Err(not_found());
        }
        Ok(point)
    }
}

/// The point of a session, expired or not; `None` when the session was aborted.
///
/// # Errors
/// When its end object is damaged or missing, or the storage fails.
pub(crate) async fn read_record(
    vault: &Inner,
    session: SessionId,
) -> Result<Option<RecoveryPoint>> {
    let object = name::session_end(session);
    let bytes = vault.store.get(&object, END_LIMIT).await?;
    open_record(vault, session, &bytes)
}

fn open_record(vault: &Inner, session: SessionId, bytes: &[u8]) -> Result<Option<RecoveryPoint>> {
    if !committed(vault, session, bytes)? {
        return Ok(None);
    }
    let object = name::session_end(session);
    let opened = SessionEnd::open_record(bytes, &vault.ring);
    let (_, record) = opened.map_err(|error| Error::format(&object, error))?;
    let point: RecoveryPoint = parse(&object, &record)?;
    if point.id == PointId::from(session) {
        Ok(Some(point))
    } else {
        Err(Error::damaged(object, "it is another recovery point"))
    }
}

/// Whether an end object is a commit.
fn committed(vault: &Inner, session: SessionId, bytes: &[u8]) -> Result<bool> {
    let object = name::session_end(session);
    let end = SessionEnd::decode(bytes).map_err(|error| Error::format(&object, error))?;
    check_end(vault, session, &end)?;
    Ok(end.outcome != Outcome::Aborted)
}

/// Why an end object alone is no point: docs/format/commit-protocol.md.
const WITHOUT_BEGIN: &str = "the session has an end without a begin";

/// The sessions of a vault, as collect sees them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    pub(crate) begun: BTreeSet<SessionId>,
    pub(crate) ended: BTreeSet<SessionId>,
    /// Those whose points nobody can want any more. All other points are kept.
    pub(crate) may_go: BTreeSet<SessionId>,
}

impl Standing {
    pub(crate) async fn list(vault: &Inner) -> Result<Self> {
        // Marks first: collect deletes them last.
        let mut standing = Self {
            may_go: expired(vault).await?,
            ..Self::default()
        };
        for meta in vault.store.list(name::SESSIONS).await? {
            match name::parse_session_object(meta.name.as_str()) {
                Some(SessionObject::Begin(session)) => standing.begun.insert(session),
                Some(SessionObject::End(session)) => standing.ended.insert(session),
                None => false,
            };
        }
        Ok(standing)
    }

    /// Sessions that began and have not ended.
    pub(crate) fn open(&self) -> BTreeSet<SessionId> {
        self.begun.difference(&self.ended).copied().collect()
    }
}

/// The sessions whose points have expired. A mark's name says all.
async fn expired(vault: &Inner) -> Result<BTreeSet<SessionId>> {
    let listed = vault.store.list(name::EXPIRED).await?;
    let marked = listed.iter();
    Ok(marked
        .filter_map(|meta| name::parse_expired(meta.name.as_str()))
        .collect())
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

/// `None` for a session that was aborted.
async fn summary(vault: &Inner, session: SessionId) -> Result<Option<PointSummary>> {
    let object = name::session_end(session);
    let bytes = vault.store.get(&object, END_LIMIT).await?;
    let end = SessionEnd::decode(&bytes).map_err(|error| Error::format(&object, error))?;
    check_end(vault, session, &end)?;
    if end.outcome == Outcome::Aborted {
        return Ok(None);
    }
    let opened = SessionEnd::open_summary(&bytes, &vault.ring);
    let (_, summary) = opened.map_err(|error| Error::format(&object, error))?;
    let summary: PointSummary = parse(&object, &summary)?;
    if summary.id == PointId::from(session) {
        Ok(Some(summary))
    } else {
        Err(Error::damaged(object, "it is another recovery point"))
    }
}

fn check_end(vault: &Inner, session: SessionId, end: &SessionEnd) -> Result<()> {
    if end.session == session && end.vault == vault.id {
        Ok(())
    } else {
        Err(Error::damaged(
            name::session_end(session),
            "it is the end of another session",
        ))
    }
}

fn parse<T: serde::de::DeserializeOwned>(object: &str, json: &[u8]) -> Result<T> {
    serde_json::from_slice(json)
        .map_err(|error| Error::damaged(object, "its JSON has another shape").because(error))
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
