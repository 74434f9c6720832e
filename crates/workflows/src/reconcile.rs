//! Ends what crashes left of ours in a VM and beside it. Idempotent; needs no memory of the crash.
//!
//! # What must hold
//! - The caller holds the VM's host lock, so that no snapshot of ours is alive in it, whatever state
//!   directory its job is recorded in.
//! - Nothing without our tag is looked at. A bitmap alone, of a session that this vault does not
//!   know, stays: it may record for a recovery point in another vault.
//! - The vault decides: a session that is still open is aborted first, so that its writer, should
//!   it wake up, cannot commit.
//!
//! # After a crash
//! It is run again; ending a snapshot twice is safe.

use std::collections::BTreeMap;

use tresor_disk::{Orphan, Outcome, SnapshotProvider};
use tresor_model::{JobId, RecoveryPoint, SessionId, SnapshotTag, TrackingLedger};
use tresor_vault::{Ended, Vault};

/// What became of one leftover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    /// Its snapshot.
    pub tag: SnapshotTag,
    /// How it was ended; in a dry run, how it would be.
    pub outcome: Outcome,
    /// The names of what was removed; empty in a dry run.
    pub removed: Vec<String>,
}

/// Why it could not be done.
#[derive(Debug)]
pub enum ReconcileError {
    /// The VM or its host.
    Snapshot(tresor_disk::Error),
    /// The vault.
    Vault(tresor_vault::Error),
}

impl From<tresor_disk::Error> for ReconcileError {
    fn from(error: tresor_disk::Error) -> Self {
        Self::Snapshot(error)
    }
}

impl From<tresor_vault::Error> for ReconcileError {
    fn from(error: tresor_vault::Error) -> Self {
        Self::Vault(error)
    }
}

/// Whether to change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// End what is found.
    Clear,
    /// Only look.
    DryRun,
}

/// Ends every leftover in a VM. `last` is its newest recovery point in this vault, whose bitmaps
/// stay.
///
/// # Errors
/// When the VM or the vault cannot be asked, or something cannot be removed; what was removed by
/// then stays removed.
pub async fn reconcile(
    provider: &dyn SnapshotProvider,
    vault: &Vault,
    last: Option<&RecoveryPoint>,
    mode: Mode,
) -> Result<Vec<Cleared>, ReconcileError> {
    let keep: Vec<TrackingLedger> = last
        .iter()
        .flat_map(|point| point.disks.iter().map(|disk| disk.tracking.clone()))
        .collect();
    let mut orphans = provider.find_orphans(&keep).await?;
    if orphans.is_empty() {
        return Ok(Vec::new());
    }
    let last = last.map(|point| SnapshotTag::of_job(point.job));
    // The last point's first: what it replaces is gone then, and nothing is merged into it.
    orphans.sort_by_key(|orphan| Some(&orphan.tag) != last.as_ref());
    let sessions: BTreeMap<SnapshotTag, SessionId> = vault
        .sessions()
        .await?
        .into_iter()
        .map(|session| (tag_of(session), session))
        .collect();
    let mut cleared = Vec::new();
    for orphan in orphans {
        let session = sessions.get(&orphan.tag).copied();
        let is_last = last.as_ref() == Some(&orphan.tag);
        let Some(outcome) = decide(&orphan, session.is_some(), is_last) else {
            continue;
        };
        let mut removed = Vec::new();
        if mode == Mode::Clear {
            removed = clear(provider, vault, &orphan.tag, session, outcome).await?;
        }
        cleared.push(Cleared {
            tag: orphan.tag,
            outcome,
            removed,
        });
    }
    Ok(cleared)
}

async fn clear(
    provider: &dyn SnapshotProvider,
    vault: &Vault,
    tag: &SnapshotTag,
    session: Option<SessionId>,
    outcome: Outcome,
) -> Result<Vec<String>, ReconcileError> {
    if let Some(session) = session
        && vault.abort_session(session).await? == Ended::AbortedNow
    {
        tracing::warn!(%session, "a session that nobody works on was ended");
    }
    Ok(provider.release(tag, outcome).await?.removed)
}

/// How a leftover ends; `None`: it stays.
///
/// What the last point's snapshot left ends as committed, so that its bitmap goes on. Everything
/// else serves no point that a backup could go on from: its bitmap is given back to the one before,
/// where that is still there.
#[must_use]
fn decide(orphan: &Orphan, known_here: bool, is_last: bool) -> Option<Outcome> {
    match (is_last, known_here, orphan.only_bitmaps) {
        (true, _, _) => Some(Outcome::Committed),
        (false, false, true) => None,
        (false, _, _) => Some(Outcome::Abandoned),
    }
}

fn tag_of(session: SessionId) -> SnapshotTag {
    SnapshotTag::of_job(JobId::from_uuid(*session.as_uuid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bitmaps_of_sessions_that_are_not_known_stay() {
        let decide = |only_bitmaps, known, last| {
            let tag = SnapshotTag::of_job(JobId::generate());
            decide(&Orphan { tag, only_bitmaps }, known, last)
        };
        let (committed, abandoned) = (Some(Outcome::Committed), Some(Outcome::Abandoned));
        assert_eq!(decide(false, true, true), committed);
        assert_eq!(decide(true, true, true), committed);
        assert_eq!(decide(true, true, false), abandoned, "of an older point");
        assert_eq!(decide(false, true, false), abandoned);
        assert_eq!(decide(false, false, false), abandoned, "it is in the way");
        assert_eq!(
            decide(true, false, false),
            None,
            "of another vault, perhaps"
        );
    }
}
