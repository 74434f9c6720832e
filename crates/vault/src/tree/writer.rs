//! Writing a tree: a path of open nodes from the root to where the last change was.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tresor_model::{NodeRef, StreamRecord};
use tresor_vault_format::limits::FAN_OUT;
use tresor_vault_format::{Child, Location, Node, NodeId, node_ref, root_level};

use crate::error::{Error, Result};
use crate::session::Core;
use crate::tree::{ChunkUpdate, LeafUpdate, load, root_child};

/// Plain bytes at which the finished children of a node are put into a frame: reading one of
/// them costs one such frame.
const FRAME_SIZE: usize = 64 << 10;
const BITS: u32 = FAN_OUT.ilog2();

pub(crate) struct TreeWriter {
    core: Arc<Core>,
    root_level: u8,
    /// Open nodes, from the top. The first is a node above the root that is never stored: it
    /// spares the root a life of its own.
    path: Vec<OpenNode>,
    stored: Arc<AtomicU64>,
}

/// A node on the path.
struct OpenNode {
    level: u8,
    /// Its number among the nodes of its level.
    index: u64,
    base: [Option<NodeId>; FAN_OUT],
    children: Box<[Option<Child>; FAN_OUT]>,
    /// Children that changed and are not yet in a frame.
    staged: Vec<Staged>,
    plain: Vec<u8>,
    /// It is stored even if its content is what it was: it was lost, or what is below it has moved.
    anew: bool,
}

struct Staged {
    slot: usize,
    id: NodeId,
    size: u32,
}

impl OpenNode {
    fn new(level: u8, index: u64, children: Box<[Option<Child>; FAN_OUT]>) -> Self {
        let base = children.each_ref().map(|child| child.map(|child| child.id));
        Self {
            level,
            index,
            base,
            children,
            staged: Vec::new(),
            plain: Vec::new(),
            anew: false,
        }
    }

    /// Whether the node of `level` and `index` lies below.
    fn is_above(&self, level: u8, index: u64) -> bool {
        let levels = u32::from(self.level.saturating_sub(level));
        self.level > level && index.checked_shr(levels * BITS).unwrap_or(0) == self.index
    }

    fn is_unchanged(&self) -> bool {
        let same =
            |(before, now): (&Option<NodeId>, &Option<Child>)| *before == now.map(|child| child.id);
        self.base.iter().zip(self.children.iter()).all(same)
    }
}

fn level_of_root(size: u64) -> Result<u8> {
    root_level(size).map_err(|_| Error::misuse("streams are at most 4 PiB"))
}

/// The nodes from above the root down to the parent of `child`, the root of the base, which is at
/// level `below`. Those that a grown stream has above its base are in no vault yet: they begin
/// empty, so that they count as changed.
fn path_to(root_level: u8, child: Option<Child>, below: u8) -> Vec<OpenNode> {
    let empty = |level| OpenNode::new(level, 0, Box::new([None; FAN_OUT]));
    let lowest = match child {
        Some(_) => below + 1,
        None => root_level + 1,
    };
    let mut path: Vec<_> = (lowest..=root_level + 1).rev().map(empty).collect();
    if let Some(parent) = path.last_mut() {
        parent.children[0] = child;
    }
    path
}

fn slot_of(index: u64) -> usize {
    usize::try_from(index % FAN_OUT as u64).unwrap_or(0)
}

impl TreeWriter {
    pub(crate) fn new(
        core: Arc<Core>,
        size: u64,
        base: Option<&StreamRecord>,
        stored: Arc<AtomicU64>,
    ) -> Result<Self> {
        let root_level = level_of_root(size)?;
        let (child, below) = match base {
            Some(base) => (root_child(base)?, level_of_root(base.size)?),
            None => (None, root_level),
        };
        Ok(Self {
            core,
            root_level,
            path: path_to(root_level, child, below),
            stored,
        })
    }

    /// Changes a leaf. Indexes rise over all calls.
    pub(crate) async fn put_leaf(&mut self, index: u64, update: &LeafUpdate) -> Result<()> {
        self.open_above(0, index).await?;
        let slot = slot_of(index);
        let before = self.last().children[slot];
        let (lost, heals) = (self.is_lost(before), !self.core.heal.packs.is_empty());
        let keeps = update.contains(&ChunkUpdate::Keep);
        let mut leaf = match before {
            Some(before) if (keeps || heals) && !lost => load(&self.core.vault, &before, 0).await?,
            _ => Node::empty(0),
        };
        let mut anew = lost;
        if let Node::Leaf(chunks) = &mut leaf {
            for (chunk, update) in chunks.iter_mut().zip(update.iter()) {
                match update {
                    ChunkUpdate::Keep => {}
                    ChunkUpdate::Zero => *chunk = None,
                    ChunkUpdate::Data(data) => {
                        let heal = &self.core.heal;
                        anew |= chunk.is_some_and(|old| heal.has_pack(&old.frame.pack));
                        *chunk = Some(*data);
                    }
                }
            }
        }
        self.replace(slot, &leaf, anew).await
    }

    /// Makes whole leaves zero.
    pub(crate) async fn zero_leaves(&mut self, leaves: Range<u64>) -> Result<()> {
        let mut at = leaves.start;
        while at < leaves.end {
            let fits = |level: u8| {
                let span = 1_u64 << (BITS * u32::from(level));
                at.is_multiple_of(span) && at.saturating_add(span) <= leaves.end
            };
            let level = (0..=self.root_level)
                .rev()
                .find(|level| fits(*level))
                .unwrap_or(0);
            let index = at >> (BITS * u32::from(level));
            self.open_above(level, index).await?;
            self.last().children[slot_of(index)] = None;
            at += 1 << (BITS * u32::from(level));
        }
        Ok(())
    }

    /// Stores what is open; gives the root.
    pub(crate) async fn finish(&mut self) -> Result<Option<NodeRef>> {
        while self.path.len() > 1 {
            self.close_last().await?;
        }
        self.store_staged().await?;
        Ok(self.last().children[0].map(|root| node_ref(&root.id, &root.location)))
    }

    /// The path is never empty: the node above the root is only ever looked at.
    fn last(&mut self) -> &mut OpenNode {
        let at = self.path.len() - 1;
        &mut self.path[at]
    }

    /// Closes and opens nodes until the last one is the parent of that node.
    async fn open_above(&mut self, level: u8, index: u64) -> Result<()> {
        while self.path.len() > 1 && !self.last().is_above(level, index) {
            self.close_last().await?;
        }
        while self.last().level > level + 1 {
            let child_level = self.last().level - 1;
            let child_index = index >> (BITS * u32::from(child_level - level));
            let before = self.last().children[slot_of(child_index)];
            let lost = self.is_lost(before);
            let children = match before {
                Some(child) if !lost => match load(&self.core.vault, &child, child_level).await? {
                    Node::Inner(_, children) => children,
                    Node::Leaf(_) => return Err(Error::system("read an inner node")),
                },
                // What lies below a lost node is written anew, all of it.
                _ => Box::new([None; FAN_OUT]),
            };
            let mut node = OpenNode::new(child_level, child_index, children);
            node.anew = lost;
            self.path.push(node);
        }
        Ok(())
    }

    async fn close_last(&mut self) -> Result<()> {
        self.store_staged().await?;
        let Some(node) = self.path.pop() else {
            return Ok(());
        };
        if node.is_unchanged() && !node.anew {
            return Ok(());
        }
        let slot = slot_of(node.index);
        self.replace(slot, &Node::Inner(node.level, node.children), node.anew)
            .await
    }

    fn is_lost(&self, child: Option<Child>) -> bool {
        let lost = &self.core.heal.nodes;
        child.is_some_and(|child| lost.contains(&child.id))
    }

    /// Makes a node the child of the last open one, unless it is the same as before, and not to be
    /// stored anew.
    async fn replace(&mut self, slot: usize, node: &Node, anew: bool) -> Result<()> {
        if node.is_empty() {
            self.last().children[slot] = None;
            return Ok(());
        }
        let (id, bytes) = node.encode(&self.core.vault.ids);
        let parent = self.last();
        if !anew && parent.children[slot].is_some_and(|before| before.id == id) {
            return Ok(());
        }
        parent.anew |= anew;
        if parent.plain.len() + bytes.len() > FRAME_SIZE {
            self.store_staged().await?;
        }
        let parent = self.last();
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        parent.staged.push(Staged { slot, id, size });
        parent.plain.extend_from_slice(&bytes);
        Ok(())
    }

    /// Puts the staged children of the last open node into a frame, and their locations into it.
    async fn store_staged(&mut self) -> Result<()> {
        let node = self.last();
        if node.staged.is_empty() {
            return Ok(());
        }
        let (staged, plain) = (
            std::mem::take(&mut node.staged),
            std::mem::take(&mut node.plain),
        );
        let entries = staged
            .iter()
            .map(|staged| (staged.id.0, staged.size))
            .collect();
        let frame = self.core.append_nodes(&plain, entries).await?;
        self.stored
            .fetch_add(u64::from(frame.length), Ordering::Relaxed);
        let node = self.last();
        let mut at = 0;
        for Staged { slot, id, size } in staged {
            node.children[slot] = Some(Child {
                id,
                location: Location { frame, at, size },
            });
            at += size;
        }
        Ok(())
    }
}
