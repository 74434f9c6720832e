//! Walking over all that recovery points need.
//!
//! # Invariants
//! What is noted as live is where a reader may find it: at its hint while the pack is there, else
//! wherever plans say that it has moved to: all of these places, since nodes of one id may have
//! different hints, and another reader may ask the plans in another order. Where a pack is marked as
//! damaged, or is gone without a plan, every place that the index knows counts as well: a repair may
//! have stored the part there (docs/format/damaged.md). The next plan tells of these places.
//!
//! A node that nothing has is an error: what lies below it could be anywhere. A chunk that nothing has
//! is lost already, and keeps nobody from freeing something else.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use tresor_model::{RecoveryPoint, StreamRecord};
use tresor_vault_format::{
    Child, ChunkId, LeafChunk, Location, Node, PackId, Plan, name, root_level,
};

use super::doubt::Doubted;
use super::live::Live;
use crate::damage::marked_packs;
use crate::error::{Error, Result};
use crate::moved::Moved;
use crate::read::{chunk_at, places_of};
use crate::tree::{load_at, root_child};
use crate::vault::Inner;

pub(super) struct Walk<'a> {
    vault: &'a Arc<Inner>,
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
    /// Packs that are marked as damaged.
    marked: HashSet<PackId>,
    /// Those of them that points refer to.
    pub(super) marked_used: BTreeSet<PackId>,
    /// A plan that somebody else made.
    doubted: Option<Doubted<'a>>,
    /// Packs that are gone, and with them chunks that points need and nothing has.
    pub(super) unhealed: BTreeSet<PackId>,
    /// What is to be looked up in the index.
    lost: Lost,
    /// Chunks that points refer to and nothing has.
    pub(super) missing_chunks: u64,
}

/// What is not, or not surely, where its hint says.
#[derive(Default)]
struct Lost {
    nodes: Vec<LostNode>,
    /// With the packs of their hints.
    chunks: HashSet<([u8; 32], PackId)>,
}

struct LostNode {
    child: Child,
    level: u8,
    /// Why it cannot be read at its hint; `None` when it can.
    error: Option<Error>,
}

impl<'a> Walk<'a> {
    /// Begin it when the packs have been listed: marks that a repair relies on were put before what it
    /// stored. `plan` is the number from which on plans stay.
    pub(super) async fn begin(
        vault: &'a Arc<Inner>,
        listed: &'a HashMap<PackId, u64>,
        plan: u32,
    ) -> Result<Self> {
        Ok(Self {
            vault,
            listed,
            moved: Moved::default(),
            live: Live::default(),
            hinted: BTreeSet::new(),
            older_than: plan,
            needs_older: false,
            newer: HashSet::new(),
            marked: marked_packs(vault).await?,
            marked_used: BTreeSet::new(),
            doubted: None,
            unhealed: BTreeSet::new(),
            lost: Lost::default(),
            missing_chunks: 0,
        })
    }

    /// Whatever points need of what this plan condemns stays, unless it is found where the plan says that
    /// it has moved to, and is what it should be there.
    pub(super) fn doubt(&mut self, plan: &'a Plan) {
        self.doubted = Some(Doubted::new(plan));
    }

    pub(super) async fn point(&mut self, point: &RecoveryPoint) -> Result<()> {
        let disks = point.disks.iter().map(|disk| &disk.stream);
        for stream in disks.chain(&point.attachments) {
            self.stream(stream).await?;
        }
        Ok(())
    }

    /// Packs that are marked as damaged and not there, of which points need nothing that is not found
    /// elsewhere.
    pub(super) fn healed(&self) -> Vec<PackId> {
        let healed =
            |pack: &&PackId| !self.listed.contains_key(pack) && !self.unhealed.contains(pack);
        let mut healed: Vec<PackId> = self.marked.iter().filter(healed).copied().collect();
        healed.sort_unstable();
        healed
    }

    /// Looks up what was not where hints say. Before that, not all that points need is noted.
    pub(super) async fn finish(&mut self) -> Result<()> {
        loop {
            let Lost { nodes, chunks } = std::mem::take(&mut self.lost);
            if nodes.is_empty() && chunks.is_empty() {
                return Ok(());
            }
            let ids = nodes.iter().map(|node| node.child.id.0);
            let ids = ids.chain(chunks.iter().map(|(id, _)| *id));
            let places = places_of(self.vault, ids.collect()).await?;
            for (id, hinted) in &chunks {
                let found = places.get(id).into_iter().flatten();
                self.lost_chunk(*id, *hinted, found);
            }
            for lost in nodes {
                let places = places.get(&lost.child.id.0);
                self.lost_node(lost, places.map_or(&[], Vec::as_slice))
                    .await?;
            }
        }
    }

    /// Notes a chunk wherever the index says that it lies.
    fn lost_chunk<'p>(
        &mut self,
        id: [u8; 32],
        hinted: PackId,
        places: impl Iterator<Item = &'p Location>,
    ) {
        let mut anywhere = false;
        for chunk in places.filter_map(|place| chunk_at(ChunkId(id), place)) {
            self.live.chunk(&chunk);
            self.hinted.insert((hinted, chunk.frame.pack));
            anywhere = true;
        }
        if !anywhere && !self.listed.contains_key(&hinted) {
            self.missing_chunks += 1;
            self.unhealed.insert(hinted);
        }
    }

    /// Notes a node wherever it can be read, and what lies below it.
    async fn lost_node(&mut self, lost: LostNode, places: &[Location]) -> Result<()> {
        let LostNode {
            child,
            level,
            mut error,
        } = lost;
        let at_hint = child.location.frame.pack;
        for location in places.iter().filter(|place| place.frame.pack != at_hint) {
            let other = Child {
                id: child.id,
                location: *location,
            };
            match load_at(self.vault, &other, level).await {
                Ok(node) => {
                    error = None;
                    self.hinted.insert((at_hint, location.frame.pack));
                    self.below(&other, &node, level).await?;
                }
                Err(found) if found.is_damage() => {}
                Err(found) => return Err(found),
            }
        }
        error.map_or(Ok(()), Err)
    }

    async fn stream(&mut self, stream: &StreamRecord) -> Result<()> {
        let level = root_level(stream.size);
        let level = level.map_err(|_| Error::misuse("streams are at most 4 PiB"))?;
        match root_child(stream)? {
            Some(root) => self.subtree(root, level).await,
            None => Ok(()),
        }
    }

    async fn subtree(&mut self, root: Child, level: u8) -> Result<()> {
        let mut waiting: Vec<(Child, u8)> = vec![(root, level)];
        while let Some((child, level)) = waiting.pop() {
            let places = self.find(&child.location, &child.id.0).await?;
            if places.is_empty() {
                let object = name::pack(&child.location.frame.pack);
                let error = Error::damaged(object, "it is missing");
                self.look_for(child, level, Some(error));
            }
            for location in places {
                let child = Child {
                    id: child.id,
                    location,
                };
                if self.live.has_node(&location) {
                    continue;
                }
                match load_at(self.vault, &child, level).await {
                    Ok(node) => {
                        if self.marked.contains(&location.frame.pack) {
                            self.look_for(child, level, None);
                        }
                        waiting.extend(self.note(&child, &node, level).await?);
                    }
                    Err(error) if error.is_damage() => self.look_for(child, level, Some(error)),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn look_for(&mut self, child: Child, level: u8, error: Option<Error>) {
        self.lost.nodes.push(LostNode {
            child,
            level,
            error,
        });
    }

    async fn below(&mut self, child: &Child, node: &Node, level: u8) -> Result<()> {
        for (child, level) in self.note(child, node, level).await? {
            self.subtree(child, level).await?;
        }
        Ok(())
    }

    /// Notes a node that was read, and the chunks of a leaf; gives its children, if it is new.
    async fn note(&mut self, child: &Child, node: &Node, level: u8) -> Result<Vec<(Child, u8)>> {
        if !self.live.node(&child.location) {
            return Ok(Vec::new());
        }
        match node {
            Node::Leaf(chunks) => {
                for chunk in chunks.iter().flatten() {
                    self.chunk(chunk).await?;
                }
                Ok(Vec::new())
            }
            Node::Inner(_, children) => {
                let children = children.iter().flatten();
                Ok(children.map(|child| (*child, level - 1)).collect())
            }
        }
    }

    async fn chunk(&mut self, chunk: &LeafChunk) -> Result<()> {
        let pack = chunk.frame.pack;
        let doubted = self.doubted.as_ref();
        let is_doubted = doubted.is_some_and(|doubted| doubted.condemns(&pack));
        if self.listed.contains_key(&pack) && !self.marked.contains(&pack) && !is_doubted {
            self.live.chunk(chunk);
            return Ok(());
        }
        let places = self.find(&chunk.location(), &chunk.id.0).await?;
        if places.is_empty() || self.marked.contains(&pack) {
            self.lost.chunks.insert((chunk.id.0, pack));
        }
        for location in places {
            let object = name::pack(&location.frame.pack);
            let found = chunk_at(chunk.id, &location);
            let found = found.ok_or_else(|| Error::damaged(object, "it is no chunk"))?;
            self.live.chunk(&found);
        }
        Ok(())
    }

    /// All places where a reader could find a part without the index. None: its pack is gone, and no
    /// plan tells where to.
    async fn find(&mut self, hint: &Location, id: &[u8; 32]) -> Result<Vec<Location>> {
        let pack = hint.frame.pack;
        if self.marked.contains(&pack) {
            self.marked_used.insert(pack);
        }
        if self.listed.contains_key(&pack) || self.newer.contains(&pack) {
            return match &mut self.doubted {
                Some(doubted) => doubted.places(self.vault, &self.moved, hint, id).await,
                None => Ok(vec![*hint]),
            };
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
        Ok(Vec::new())
    }
}
