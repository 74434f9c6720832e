//! Which sessions a vault has, and which of them nobody can want any more.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use tresor_model::SessionId;
use tresor_vault_format::name::{self, SessionObject};

use crate::error::{Error, Result};
use crate::marks::Marks;
use crate::standing::Standing;
use crate::vault::Inner;

/// The sessions of a vault, by the names of their objects.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roster {
    pub(crate) begun: BTreeSet<SessionId>,
    pub(crate) ended: BTreeSet<SessionId>,
    /// Those whose points are gone, when the marks were read. All other points are kept: also those
    /// that are deleted and can be brought back, and those of which a mark cannot be read.
    pub(crate) may_go: BTreeSet<SessionId>,
}

impl Roster {
    /// Without a look at the marks.
    pub(crate) async fn list(vault: &Inner) -> Result<Self> {
        let mut roster = Self::default();
        for meta in vault.store.list(name::SESSIONS).await? {
            match name::parse_session_object(meta.name.as_str()) {
                Some(SessionObject::Begin(session)) => roster.begun.insert(session),
                Some(SessionObject::End(session)) => roster.ended.insert(session),
                None => false,
            };
        }
        Ok(roster)
    }

    /// With the marks as they count now.
    pub(crate) async fn judged(vault: &Inner) -> Result<Self> {
        // Marks first: collect deletes them last.
        let marks = Marks::read(vault, None).await?;
        let mut roster = Self::list(vault).await?;
        let now = Timestamp::now();
        let marks = &marks;
        let sessions = roster.ended.iter().copied();
        roster.may_go = stream::iter(sessions.collect::<Vec<_>>())
            .map(async |session| {
                let standing = marks.standing(vault, session, now).await?;
                Ok::<_, Error>((standing == Standing::Gone).then_some(session))
            })
            .buffer_unordered(vault.store.parallelism())
            .try_filter_map(async |session| Ok(session))
            .try_collect()
            .await?;
        Ok(roster)
    }

    /// Sessions that began and have not ended.
    pub(crate) fn open(&self) -> BTreeSet<SessionId> {
        self.begun.difference(&self.ended).copied().collect()
    }
}

/// Makes durable what a [`Roster::judged`] saw: what is only seen could be taken back by a power cut.
pub(crate) async fn settle(vault: &Inner) -> Result<()> {
    for prefix in [name::SESSIONS, name::EXPIRED, name::STATES, name::LOCKS] {
        vault.store.settle(prefix).await?;
    }
    Ok(())
}
