//! What a plan that somebody else made says of moved parts, checked before it is believed.
//!
//! Whoever can put objects can put a plan. So a part counts as moved only when the pack that it has moved
//! to is whole: every part in it is what its id says.

use std::collections::HashMap;
use std::sync::Arc;

use tresor_vault_format::limits::FRAME_LIMIT;
use tresor_vault_format::{Location, PackId, Plan, name};

use super::rewrite::part_bytes;
use crate::error::{Error, Result};
use crate::known::{entries_of, read_pack};
use crate::moved::Moved;
use crate::read;
use crate::vault::Inner;

pub(super) struct Doubted<'a> {
    plan: &'a Plan,
    /// Packs that were read, and whether they are whole.
    whole: HashMap<PackId, bool>,
}

impl<'a> Doubted<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            whole: HashMap::new(),
        }
    }

    pub(super) fn condemns(&self, pack: &PackId) -> bool {
        self.plan.condemned.binary_search(pack).is_ok()
    }

    /// Where a part is when the plan has been carried out; its hint, when that pack has to stay.
    pub(super) async fn places(
        &mut self,
        vault: &Arc<Inner>,
        moved: &Moved,
        hint: &Location,
        id: &[u8; 32],
    ) -> Result<Vec<Location>> {
        if !self.condemns(&hint.frame.pack) {
            return Ok(vec![*hint]);
        }
        let mut places = Vec::new();
        for found in moved.locate_all(vault, &hint.frame.pack, id).await? {
            let pack = found.location.frame.pack;
            if !self.condemns(&pack) && self.is_whole(vault, pack).await? {
                places.push(found.location);
            }
        }
        match places.is_empty() {
            true => Ok(vec![*hint]),
            false => Ok(places),
        }
    }

    async fn is_whole(&mut self, vault: &Arc<Inner>, pack: PackId) -> Result<bool> {
        if let Some(whole) = self.whole.get(&pack) {
            return Ok(*whole);
        }
        let whole = match read_whole(vault, pack).await {
            Ok(()) => true,
            Err(error) if error.is_damage() => {
                tracing::warn!(%pack, %error, "a plan says that parts have moved there; they stay");
                false
            }
            Err(error) => return Err(error),
        };
        self.whole.insert(pack, whole);
        Ok(whole)
    }
}

/// Reads every part of a pack and compares it with its id.
async fn read_whole(vault: &Arc<Inner>, id: PackId) -> Result<()> {
    let object = name::pack(&id);
    let gone = || Error::damaged(&object, "it is missing");
    let size = vault.store.stat(&object).await?.ok_or_else(gone)?;
    let (kind, contents) = read_pack(vault, id, size).await?;
    for entry in entries_of(&contents) {
        // A frame is read once: what was opened last is in the cache.
        let opened = read::frame(vault, &entry.location.frame, kind, FRAME_LIMIT).await?;
        part_bytes(vault, kind, entry.id, &entry.location, &opened)?;
    }
    Ok(())
}
