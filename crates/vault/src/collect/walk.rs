//! Walking over all that a recovery point needs.
//!
//! # Invariants
//! What is noted as live is where a reader finds it: at its hint while the pack is there, else
//! wherever plans say that it has moved to: all of these places, since nodes of one id may have
//! different hints, and another reader may ask the plans in another order. Whatever cannot be found is an error: it could be anywhere.

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
        while let Some((child, level)) = waiting.pop() {
            for location in self.find(&child.location, &child.id.0).await? {
                if !self.live.node(&location) {
                    continue;
                }
                let id = child.id;
                match load_at(self.vault, &Child { id, location }, level).await? {
                    Node::Leaf(chunks) => {
                        for chunk in chunks.iter().flatten() {
                            self.chunk(chunk).await?;
                        }
                    }
                    Node::Inner(_, children) => {
                        let children = children.iter().flatten();
                        waiting.extend(children.map(|child| (*child, level - 1)));
                    }
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
        for location in self.find(&chunk.location(), &chunk.id.0).await? {
            let object = name::pack(&location.frame.pack);
            let found = chunk_at(chunk.id, &location);
            let found = found.ok_or_else(|| Error::damaged(object, "it is no chunk"))?;
            self.live.chunk(&found);
        }
        Ok(())
    }

    /// All places where a reader could find a part.
    async fn find(&mut self, hint: &Location, id: &[u8; 32]) -> Result<Vec<Location>> {
        let pack = hint.frame.pack;
        if self.listed.contains_key(&pack) || self.newer.contains(&pack) {
            return Ok(vec![*hint]);
        }
        let found = self.moved.locate_all(self.vault, &pack, id).await?;
        if !found.is_empty() {
            let places = found.iter().map(|found| found.location.frame.pack);
            self.hinted.extend(places.map(|place| (pack, place)));
            self.needs_older |= found.iter().all(|found| found.plan < self.older_than);
            return Ok(found.iter().map(|found| found.location).collect());
        }
        if self.vault.store.stat(&name::pack(&pack)).await?.is_some() {
            self.newer.insert(pack);
            return Ok(vec![*hint]);
        }
        Err(Error::damaged(name::pack(&pack), "it is missing"))
    }
}
