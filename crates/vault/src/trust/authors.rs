//! Whose a recovery point is, as far as it decides about what may be built on it.
//!
//! A tree is taken over as it is: what it says the unchanged part of a disk holds, and where that lies.
//! Ids prove that bytes are what the tree says, never that the tree says what was on the disk. Whoever
//! has the domain's key can make a newer point of any VM. So it matters who wrote a tree.

use tresor_model::{JobId, RecoveryPoint, SnapshotTag, StreamRecord};
use tresor_vault_format::name;
use tresor_vault_format::name::SessionObject;

use crate::error::Result;
use crate::known;
use crate::vault::Vault;

impl Vault {
    /// Learns what this machine wrote into the vault, from what it keeps in `index_cache`, and notes
    /// there what it writes from now on. A session with that cache does it too.
    pub fn remember_in(&self, index_cache: &std::path::Path) {
        let inner = &self.inner;
        let dir = known::cache_of(index_cache, inner.id, inner.domain);
        inner.trust.remember_in(&dir, inner.id);
    }

    /// Whether this machine wrote that stream's tree, and says so of itself ([`Self::remember_in`]).
    /// Nothing lies below a stream of zeros, whoever wrote it.
    #[must_use]
    pub fn wrote(&self, stream: &StreamRecord) -> bool {
        let root = stream.root.as_ref();
        root.is_none_or(|root| self.inner.trust.has_root(root))
    }

    /// Whether a snapshot's tag can only mean this point: its session has the tag, and no other
    /// session of the vault. Tags are short, so anybody can make a session that has a given one; but
    /// then there are two.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn is_only_of_tag(&self, point: &RecoveryPoint, tag: &SnapshotTag) -> Result<bool> {
        let of = |session: &uuid::Uuid| SnapshotTag::of_job(JobId::from_uuid(*session));
        let own = *point.id.as_uuid();
        if of(&own) != *tag {
            return Ok(false);
        }
        let listed = self.inner.store.list(name::SESSIONS).await?;
        let sessions = listed.iter().filter_map(|meta| {
            match name::parse_session_object(meta.name.as_str())? {
                SessionObject::Begin(session) | SessionObject::End(session) => Some(session),
            }
        });
        let mut others = sessions.filter(|session| *session.as_uuid() != own);
        Ok(!others.any(|session| of(session.as_uuid()) == *tag))
    }
}
