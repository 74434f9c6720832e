//! What the end object of a session holds: a recovery point, or the word that there is none.

use tresor_model::{PointId, RecoveryPoint, SessionId};
use tresor_vault_format::limits::END_LIMIT;
use tresor_vault_format::{Outcome, SessionEnd, name};

use crate::error::{Error, Result};
use crate::session::PointSummary;
use crate::vault::Inner;

/// The point of a session, however it stands; `None` when the session was aborted.
///
/// # Errors
/// When its end object is damaged or missing, or the storage fails.
pub(crate) async fn read(vault: &Inner, session: SessionId) -> Result<Option<RecoveryPoint>> {
    let object = name::session_end(session);
    let bytes = vault.store.get(&object, END_LIMIT).await?;
    let end = decode_end(vault, session, &bytes)?;
    match end.outcome {
        Outcome::Aborted => Ok(None),
        Outcome::Committed(_) => open(vault, session, &end, &bytes).await.map(Some),
    }
}

/// The public part of an end object.
pub(crate) fn decode_end(vault: &Inner, session: SessionId, bytes: &[u8]) -> Result<SessionEnd> {
    let object = name::session_end(session);
    let end = SessionEnd::decode(bytes).map_err(|error| Error::format(&object, error))?;
    if end.session == session && end.vault == vault.id {
        Ok(end)
    } else {
        Err(Error::damaged(object, "it is the end of another session"))
    }
}

/// The record in the bytes of an end that is a commit.
pub(crate) async fn open(
    vault: &Inner,
    session: SessionId,
    end: &SessionEnd,
    bytes: &[u8],
) -> Result<RecoveryPoint> {
    if let Outcome::Committed(commit) = &end.outcome
        && !vault.ring.knows(commit.epoch)
    {
        vault.refresh_ring().await?;
    }
    let object = name::session_end(session);
    let opened = SessionEnd::open_record(bytes, &vault.ring.get().ring);
    let (_, record) = opened.map_err(|error| Error::format(&object, error))?;
    let point: RecoveryPoint = parse(&object, &record)?;
    of_session(session, point.id).map(|()| point)
}

/// The summary in the bytes of an end that is a commit.
pub(crate) fn open_summary(
    vault: &Inner,
    session: SessionId,
    bytes: &[u8],
) -> Result<PointSummary> {
    let object = name::session_end(session);
    let opened = SessionEnd::open_summary(bytes, &vault.ring.get().ring);
    let (_, summary) = opened.map_err(|error| Error::format(&object, error))?;
    let summary: PointSummary = parse(&object, &summary)?;
    of_session(session, summary.id).map(|()| summary)
}

fn of_session(session: SessionId, point: PointId) -> Result<()> {
    if point == PointId::from(session) {
        return Ok(());
    }
    let object = name::session_end(session);
    Err(Error::damaged(object, "it is another recovery point"))
}

fn parse<T: serde::de::DeserializeOwned>(object: &str, json: &[u8]) -> Result<T> {
    serde_json::from_slice(json)
        .map_err(|error| Error::damaged(object, "its JSON has another shape").because(error))
}
