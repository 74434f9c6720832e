//! Listing and reading recovery points.

use futures::{StreamExt, stream};
use tresor_model::{PointId, RecoveryPoint, SessionId};
use tresor_vault_format::limits::END_LIMIT;
use tresor_vault_format::name::SessionObject;
use tresor_vault_format::{Outcome, SessionEnd, name};

use crate::error::{Error, ErrorKind, Result};
use crate::session::PointSummary;
use crate::vault::{Inner, Vault};

/// The recovery points of a vault.
#[derive(Debug, Clone, Default)]
pub struct PointList {
    /// By time, oldest first.
    pub points: Vec<PointSummary>,
    /// Points that cannot be read; the others are not affected.
    pub damaged: Vec<Error>,
}

impl Vault {
    /// All recovery points.
    ///
    /// # Errors
    /// When the storage fails. A damaged end object is an entry of the list, not an error of it.
    pub async fn points(&self) -> Result<PointList> {
        let inner = &self.inner;
        let listed = inner.store.list(name::SESSIONS).await?;
        let ended = listed.iter().filter_map(|meta| {
            match name::parse_session_object(meta.name.as_str())? {
                SessionObject::End(session) => Some(session),
                SessionObject::Begin(_) => None,
            }
        });
        let ended: Vec<SessionId> = ended.collect();
        let mut summaries = stream::iter(ended)
            .map(|session| summary(inner, session))
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
        list.points.sort_by_key(|point| (point.taken_at, point.id));
        Ok(list)
    }

    /// One recovery point.
    ///
    /// # Errors
    /// [`ErrorKind::PointNotFound`], [`ErrorKind::Damaged`]; when the storage fails.
    pub async fn point(&self, id: PointId) -> Result<RecoveryPoint> {
        let session = SessionId::from_uuid(*id.as_uuid());
        let object = name::session_end(session);
        let not_found = || Error::new(ErrorKind::PointNotFound { point: id });
        let bytes = self
            .inner
            .store
            .find(&object, END_LIMIT)
            .await?
            .ok_or_else(not_found)?;
        let end = SessionEnd::decode(&bytes).map_err(|error| Error::format(&object, error))?;
        check_end(&self.inner, session, &end)?;
        if end.outcome == Outcome::Aborted {
            return Err(not_found());
        }
        let opened = SessionEnd::open_record(&bytes, &self.inner.ring);
        let (_, record) = opened.map_err(|error| Error::format(&object, error))?;
        let point: RecoveryPoint = parse(&object, &record)?;
        if point.id == id {
            Ok(point)
        } else {
            Err(Error::damaged(object, "it is another recovery point"))
        }
    }
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
