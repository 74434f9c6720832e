//! Which trees a session may build on.
//!
//! # Invariants
//! A tree is inherited blindly, so all below it must outlive the session: its point is there, after
//! the session began, and no plan in effect drops it. A plan that comes later waits for the session.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tresor_model::{PointId, RecoveryPoint, SessionId, StreamName};
use tresor_vault_format::{Plan, name};

use crate::error::{Error, ErrorKind, Result};
use crate::record;
use crate::roster::Roster;
use crate::session::core::Core;
use crate::session::protocol::PlantedBug;
use crate::vault::Inner;

pub(crate) struct Bases {
    /// Where to look first.
    named: Option<PointId>,
    /// Sessions whose points the plan in effect drops.
    dropped: BTreeSet<SessionId>,
    /// Ids of roots that may be built on.
    admitted: Mutex<BTreeSet<String>>,
}

impl Bases {
    pub(super) fn new(named: Option<PointId>, plan: Option<Plan>) -> Self {
        Self {
            named,
            dropped: plan.into_iter().flat_map(|plan| plan.dropped).collect(),
            admitted: Mutex::default(),
        }
    }

    /// A root that this session wrote itself.
    pub(super) fn admit_own(&self, root: &str) {
        self.set().insert(root.to_owned());
    }

    fn set(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits the roots of a point, if it is there to stay.
    async fn admit_point(&self, vault: &Inner, session: SessionId) -> Result<()> {
        if self.dropped.contains(&session) {
            return Ok(());
        }
        match record::read(vault, session).await {
            Ok(Some(point)) => self.set().extend(roots(&point)),
            Ok(None) => {}
            // A point that cannot be read is no base; others may be.
            Err(error) if error.object_and_reason().is_some() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn roots(point: &RecoveryPoint) -> Vec<String> {
    let disks = point.disks.iter().map(|disk| &disk.stream);
    let streams = disks.chain(&point.attachments);
    let roots = streams.filter_map(|stream| stream.root.as_ref());
    roots.map(|root| root.id.clone()).collect()
}

impl Core {
    /// Makes sure that a tree may be built on.
    pub(super) async fn admit(&self, stream: &StreamName, root: &str) -> Result<()> {
        let bases = &self.bases;
        let admitted = || bases.set().contains(root);
        if admitted() || self.protocol.has(PlantedBug::InheritsFromDropped) {
            return Ok(());
        }
        // Without a list of all sessions, as a rule.
        if let Some(named) = bases.named {
            let named = SessionId::from_uuid(*named.as_uuid());
            let begin = name::session_begin(named);
            if self.vault.store.stat(&begin).await?.is_some() {
                bases.admit_point(&self.vault, named).await?;
            }
        }
        if admitted() {
            return Ok(());
        }
        let roster = Roster::list(&self.vault).await?;
        for session in roster.ended.intersection(&roster.begun) {
            if admitted() {
                return Ok(());
            }
            bases.admit_point(&self.vault, *session).await?;
        }
        if admitted() {
            return Ok(());
        }
        let stream = stream.clone();
        Err(Error::new(ErrorKind::BaseGone { stream }))
    }
}
