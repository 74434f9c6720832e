//! Walking over all that a recovery point needs.
//!
//! # Invariants
//! What is noted as live is where a reader finds it: at its hint while the pack is there, else where
//! plans say that it has moved to. Whatever cannot be found is an error: it could be anywhere.

use std::collections::{BTreeSet, HashMap, HashSet};

use tresor_model::{RecoveryPoint, StreamRecord};
use tresor_vault_format::{Child, LeafChunk, Location, Node, PackId, name, root_level};

use super::live::Live;
use crate::error::{Error, Result};
use crate::moved::Moved;
use crate::read::chunk_at;
use crate::tree::{load_at, root_child};
use crate::vault::Inner;

pub(super) struct Walk<'a> {
    vault: &'a Inner,
    /// The packs that are there, with their sizes.
    listed: &'a HashMap<PackId, u64>,
    /// Not the vault's: what that one remembers may be old.
    moved: Moved,
    pub(super) live: Live,
    /// Packs that are gone though hints name them, and where what was in them was found.
    pub(super) hinted: BTreeSet<(PackId, PackId)>,
    /// What was found by a plan of a lower number.
    older_than: u32,
    pub(super) needs_older: bool,
    /// Packs that are there though not listed: they were put since.
    newer: HashSet<PackId>,
}

impl<'a> Walk<'a> {
    /// `plan` is the number from which on plans stay.
    pub(super) fn new(vault: &'a Inner, listed: &'a HashMap<PackId, u64>, plan: u32) -> Self {
        Self {
            vault,
            listed,
            moved: Moved::default(),
            live: Live::default(),
            hinted: BTreeSet::new(),
            older_than: plan,
            needs_older: false,
            newer: HashSet::new(),
        }
    }

    pub(super) async fn point(&mut self, point: &RecoveryPoint) -> Result<()> {
        let disks = point.disks.iter().map(|disk| &disk.stream);
        for stream in disks.chain(&point.attachments) {
            self.stream(stream).await?;
        }
        Ok(())
    }

    async fn stream(&mut self, stream: &StreamRecord) -> Result<()> {
        let level = root_level(stream.size);
        let level = level.map_err(|_| Error::misuse("streams are at most 4 PiB"))?;
        let mut waiting: Vec<(Child, u8)> = Vec::new();
        waiting.extend(root_child(stream)?.map(|root| (root, level)));
        while let Some((mut child, level)) = waiting.pop() {
            child.location = self.find(&child.location, &child.id.0).await?;
            if !self.live.node(&child.location) {
                continue;
            }
            match load_at(self.vault, &child, level).await? {
                Node::Leaf(chunks) => {
                    for chunk in chunks.iter().flatten() {
                        self.chunk(chunk).await?;
                    }
                }
                Node::Inner(_, children) => {
                    waiting.extend(children.iter().flatten().map(|child| (*child, level - 1)));
                }
            }
        }
        Ok(())
    }

    async fn chunk(&mut self, chunk: &LeafChunk) -> Result<()> {
        if self.listed.contains_key(&chunk.frame.pack) {
            self.live.chunk(chunk);
            return Ok(());
        }
        let location = self.find(&chunk.location(), &chunk.id.0).await?;
        let pack = location.frame.pack;
        let found = chunk_at(chunk.id, &location);
        let found = found.ok_or_else(|| Error::damaged(name::pack(&pack), "it is no chunk"))?;
        self.live.chunk(&found);
        Ok(())
    }

    /// Where a part is.
    async fn find(&mut self, hint: &Location, id: &[u8; 32]) -> Result<Location> {
        let pack = hint.frame.pack;
        if self.listed.contains_key(&pack) || self.newer.contains(&pack) {
            return Ok(*hint);
        }
        if let Some(found) = self.moved.locate(self.vault, &pack, id).await? {
            self.hinted.insert((pack, found.location.frame.pack));
            self.needs_older |= found.plan < self.older_than;
            return Ok(found.location);
        }
        if self.vault.store.stat(&name::pack(&pack)).await?.is_some() {
            self.newer.insert(pack);
            return Ok(*hint);
        }
        Err(Error::damaged(name::pack(&pack), "it is missing"))
    }
}
