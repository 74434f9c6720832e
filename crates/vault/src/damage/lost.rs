//! Whether a recovery point is whole, at a cost that follows its change.

use tresor_model::{PointId, SessionId};
use tresor_vault_format::limits::{END_LIMIT, INDEX_LIMIT};
use tresor_vault_format::{IndexHeader, Outcome, PackId, SessionEnd, name};

use crate::damage::marked_packs;
use crate::error::{Error, Result};
use crate::known::list_packs;
use crate::vault::Vault;

impl Vault {
    /// Whether something of a point is known to be lost: by marks of damaged packs, or because packs
    /// that its own session wrote are not there. Then its trees are walked, to be sure. Losses in older
    /// packs that nobody has marked are for verifying to find; older points have them, too.
    ///
    /// # Errors
    /// When the storage fails. A point whose own object cannot be read is lost.
    pub async fn is_lost(&self, id: PointId) -> Result<bool> {
        let point = match self.point(id).await {
            Ok(point) => point,
            Err(error) if error.object_and_reason().is_some() => return Ok(true),
            Err(error) => return Err(error),
        };
        if marked_packs(&self.inner).await?.is_empty() && self.has_own_packs(id).await? {
            return Ok(false);
        }
        let mut survey = self.survey().await?;
        let disks = point.disks.iter().map(|disk| &disk.stream);
        for stream in disks.chain(&point.attachments) {
            if survey.stream(stream).await?.bytes() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether all packs that a session wrote are there, as far as its end and its index runs tell.
    async fn has_own_packs(&self, id: PointId) -> Result<bool> {
        let store = &self.inner.store;
        let session = SessionId::from_uuid(*id.as_uuid());
        let object = name::session_end(session);
        let end = store.get(&object, END_LIMIT).await?;
        let end = SessionEnd::decode(&end).map_err(|error| Error::format(&object, error))?;
        let Outcome::Committed(commit) = end.outcome else {
            return Ok(false);
        };
        let there = list_packs(&self.inner).await?;
        let is_gone = |pack: &PackId| !there.contains_key(pack);
        if commit.tree_packs.iter().any(|(pack, _)| is_gone(pack)) {
            return Ok(false);
        }
        for number in 0..commit.index_runs {
            let object = name::index_run(session, number);
            let Some(run) = store.find(&object, INDEX_LIMIT).await? else {
                return Ok(false);
            };
            let Ok((header, _)) = IndexHeader::decode(&run) else {
                return Ok(false);
            };
            if header.packs.iter().any(|pack| is_gone(&pack.id)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
