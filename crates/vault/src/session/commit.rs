//! Ending a session. Exactly one end object can exist: whoever puts it has decided.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_model::{Consistency, CopiedFrom, PointId, RecoveryPoint, SessionId, VaultId, VmId};
use tresor_vault_format::limits::END_LIMIT;
use tresor_vault_format::{Commit, CommitBody, Outcome, SessionEnd, name};

use crate::error::{Error, ErrorKind, Result};
use crate::random::random;
use crate::session::protocol::PlantedBug;
use crate::session::{Core, WriteSession};
use crate::store::PutOutcome;
use crate::vault::{Inner, Vault};

/// How often a `put` of the end object is tried when the storage does not say what became of it.
const TRIES: u32 = 4;

/// How a session stands after an attempt to abort it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// This call ended it.
    AbortedNow,
    /// Somebody had aborted it before.
    WasAborted,
    /// It had committed: it is a recovery point.
    WasCommitted,
}

/// What a list shows of a recovery point. Stored beside it, so that a list need not read it all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointSummary {
    /// Its id.
    pub id: PointId,
    /// The VM.
    pub vm: VmId,
    /// The VM's name.
    pub vm_name: String,
    /// The moment whose data it is.
    pub taken_at: Timestamp,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// The order of the VM's points; 0 when the program that made it did not count.
    #[serde(default)]
    pub sequence: u64,
    /// What was achieved.
    pub consistency: Consistency,
    /// Number of disks.
    pub disks: u32,
    /// Sum of their sizes in bytes.
    pub size: u64,
    /// Bytes that were stored for it.
    pub stored: u64,
    /// Number of warnings.
    pub warnings: u32,
    /// The backup that it is a copy of; `None`: it was made in this vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<CopiedFrom>,
}

impl PointSummary {
    /// What orders the points of one VM: the largest is the newest. Not by time alone: clocks jump.
    #[must_use]
    pub fn age(&self) -> (u64, Timestamp, PointId) {
        (self.sequence, self.taken_at, self.id)
    }

    /// The backup that it is, or is a copy of: all copies of one have the same.
    #[must_use]
    pub fn origin(&self, vault: VaultId) -> (VaultId, PointId) {
        let copied = self.copied_from.map(|from| (from.vault, from.point));
        copied.unwrap_or((vault, self.id))
    }

    fn of(point: &RecoveryPoint) -> Self {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        Self {
            id: point.id,
            vm: point.vm,
            vm_name: point.vm_name.clone(),
            taken_at: point.taken_at,
            committed_at: point.committed_at,
            sequence: point.sequence,
            consistency: point.consistency.achieved,
            disks: count(point.disks.len()),
            size: point.disks.iter().map(|disk| disk.stream.size).sum(),
            stored: point.disks.iter().map(|disk| disk.stats.stored).sum(),
            warnings: count(point.warnings.len()),
            copied_from: point.copied_from,
        }
    }
}

impl WriteSession {
    /// Makes the recovery point: all that was written becomes durable, then the end object says
    /// that it is one. The point's id is the session's.
    ///
    /// # Errors
    /// [`ErrorKind::SessionLost`] when somebody aborted the session meanwhile;
    /// [`ErrorKind::Misuse`] when a stream is not finished or the id is another; when the
    /// storage fails, and then the point may or may not exist (see [`Vault::abort_session`]).
    pub async fn commit(self, point: RecoveryPoint) -> Result<PointId> {
        let core = &self.core;
        if !core.streams_are_closed() {
            return Err(Error::misuse("streams are finished before the commit"));
        }
        if point.id != PointId::from(core.id) {
            return Err(Error::misuse("a recovery point has the id of its session"));
        }
        let tree_packs = core.store_all().await?;
        let object = encode_commit(core, &point, tree_packs)?;
        put_commit(core, object).await?;
        let disks = point.disks.iter().map(|disk| &disk.stream);
        for stream in disks.chain(&point.attachments) {
            stream
                .root
                .iter()
                .for_each(|root| core.vault.trust.note_root(root));
        }
        tracing::info!(session = %core.id, frames = %core.levels.counts(), "committed");
        #[cfg(test)]
        core.store_late().await?;
        Ok(point.id)
    }

    /// Ends the session without a recovery point. What was stored stays until collect, and is
    /// not sent again by later sessions.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn abort(self) -> Result<Ended> {
        abort(&self.core.vault, self.core.id).await
    }
}

impl Vault {
    /// Ends a session that is thought dead, unless it has ended. Its writer, should it come back,
    /// finds that it has lost ([`ErrorKind::SessionLost`]).
    ///
    /// # Errors
    /// When the storage fails; [`ErrorKind::Damaged`] when the end object is.
    pub async fn abort_session(&self, session: SessionId) -> Result<Ended> {
        abort(&self.inner, session).await
    }
}

impl Core {
    /// I2, the last part of it: packs, index, tree packs.
    pub(crate) async fn store_all(&self) -> Result<Vec<(tresor_vault_format::PackId, u32)>> {
        self.wait_for_frames().await?;
        self.known().keep_verified();
        if !self.protocol.has(PlantedBug::EndBeforePacks) {
            self.checkpoint().await?;
        }
        if self.protocol.has(PlantedBug::EndBeforeTree) {
            return Ok(Vec::new());
        }
        self.finish_tree().await
    }

    /// What a planted bug left for after the end object.
    #[cfg(test)]
    async fn store_late(&self) -> Result<()> {
        self.store_packs(true).await?;
        self.finish_tree().await.map(drop)
    }
}

fn encode_commit(
    core: &Core,
    point: &RecoveryPoint,
    tree_packs: Vec<(tresor_vault_format::PackId, u32)>,
) -> Result<Bytes> {
    let unprintable = |error| Error::system("write a recovery point as JSON").because(error);
    let body = CommitBody {
        summary: serde_json::to_vec(&PointSummary::of(point)).map_err(unprintable)?,
        record: serde_json::to_vec(point).map_err(unprintable)?,
    };
    let vault = &core.vault;
    let commit = Commit {
        epoch: vault.epoch,
        salt: random()?,
        index_runs: core.outbox.index_runs()
            + u32::from(core.protocol.has(PlantedBug::EndBeforeIndex)),
        tree_packs,
    };
    let now = Timestamp::now().as_millisecond();
    let object = SessionEnd::encode_commit(
        vault.id,
        core.id,
        now,
        commit,
        &body,
        &vault.ring.get().ring,
    );
    match object {
        Ok(object) if object.len() <= END_LIMIT => Ok(Bytes::from(object)),
        Ok(_) => Err(Error::misuse("a recovery point is at most 64 MiB")),
        Err(error) => Err(Error::format(&name::session_end(core.id), error)),
    }
}

/// Puts the end object. After an unclear answer it is put again: then the name may be taken by
/// our own first try, which its bytes tell.
async fn put_commit(core: &Core, object: Bytes) -> Result<()> {
    let end = name::session_end(core.id);
    let mut tries = 1;
    let outcome = loop {
        match core.vault.store.put(&end, object.clone()).await {
            Ok(outcome) => break outcome,
            Err(error) if tries >= TRIES => return Err(error),
            Err(error) => tracing::warn!(%error, tries, "the commit is tried again"),
        }
        tries += 1;
    };
    if outcome == PutOutcome::Stored || core.protocol.has(PlantedBug::CommitIgnoresRival) {
        return still_begun(core, &end).await;
    }
    if core.vault.store.get(&end, END_LIMIT).await? == object {
        return still_begun(core, &end).await;
    }
    Err(Error::new(ErrorKind::SessionLost { session: core.id }))
}

/// Collect deletes the begin object of a session that was ended, before its end object: where it is
/// gone, the name was free only because the session is long over.
async fn still_begun(core: &Core, end: &str) -> Result<()> {
    if core.protocol.has(PlantedBug::TrustsItsEnd) {
        return Ok(());
    }
    let store = &core.vault.store;
    if store.stat(&name::session_begin(core.id)).await?.is_some() {
        return Ok(());
    }
    if let Err(error) = store.delete(end).await {
        tracing::warn!(%error, object = end, "the end of a lost session stays");
    }
    Err(Error::new(ErrorKind::SessionLost { session: core.id }))
}

pub(crate) async fn abort(vault: &Inner, session: SessionId) -> Result<Ended> {
    let object = name::session_end(session);
    let now = Timestamp::now().as_millisecond();
    let ours = Bytes::from(SessionEnd::encode_abort(vault.id, session, now));
    if vault.store.put(&object, ours).await? == PutOutcome::Stored {
        return Ok(Ended::AbortedNow);
    }
    let found = vault.store.get(&object, END_LIMIT).await?;
    let end = SessionEnd::decode(&found).map_err(|error| Error::format(&object, error))?;
    match end.outcome {
        _ if end.session != session || end.vault != vault.id => {
            Err(Error::damaged(object, "it is the end of another session"))
        }
        Outcome::Aborted => Ok(Ended::WasAborted),
        Outcome::Committed(_) => Ok(Ended::WasCommitted),
    }
}
