//! Reading a tree.

use std::sync::Arc;

use tresor_model::StreamRecord;
use tresor_vault_format::limits::{FAN_OUT, FRAME_LIMIT};
use tresor_vault_format::{Child, LeafChunk, Node, PackKind, name, parse_node_ref, root_level};

use crate::error::{Error, Result};
use crate::read::{self, Instead};
use crate::vault::Inner;

/// The root as a child; `None` for a stream of zeros.
pub(crate) fn root_child(stream: &StreamRecord) -> Result<Option<Child>> {
    let Some(root) = &stream.root else {
        return Ok(None);
    };
    let parsed = parse_node_ref(root);
    let (id, location) =
        parsed.map_err(|_| Error::misuse("stream records come from recovery points"))?;
    Ok(Some(Child { id, location }))
}

/// How often a node is looked for again: collect may move it while it is read.
const MOVES: u32 = 4;

/// Reads one node, wherever collect has moved it to; where its hint is broken, from another place in
/// the vault.
pub(crate) async fn load(vault: &Arc<Inner>, child: &Child, level: u8) -> Result<Node> {
    let error = match load_moved(vault, child, level).await {
        Err(error) if error.object_and_reason().is_some() => error,
        loaded => return loaded,
    };
    let pack = &child.location.frame.pack;
    let places = vault.elsewhere.of_node(vault, &child.id.0, pack).await;
    for location in places.unwrap_or_default() {
        let moved = Child {
            id: child.id,
            location,
        };
        if let Ok(node) = load_at(vault, &moved, level).await {
            let bytes = u64::from(location.size);
            vault.around.note(&error, Instead::Elsewhere, bytes);
            return Ok(node);
        }
    }
    Err(error)
}

async fn load_moved(vault: &Arc<Inner>, child: &Child, level: u8) -> Result<Node> {
    let mut child = *child;
    for _ in 0..MOVES {
        match load_at(vault, &child, level).await {
            Err(error) if error.is_gone() => {
                let pack = &child.location.frame.pack;
                let found = vault.moved.locate(vault, pack, &child.id.0).await?;
                child.location = found.ok_or(error)?.location;
            }
            loaded => return loaded,
        }
    }
    load_at(vault, &child, level).await
}

/// Reads the node at that place, and nowhere else.
pub(crate) async fn load_at(vault: &Arc<Inner>, child: &Child, level: u8) -> Result<Node> {
    let location = &child.location;
    let object = name::pack(&location.frame.pack);
    let frame = read::frame(vault, &location.frame, PackKind::Tree, FRAME_LIMIT).await?;
    let outside = || Error::damaged(&object, "a manifest node lies outside of its frame");
    let (at, size) = (location.at as usize, location.size as usize);
    let bytes = at
        .checked_add(size)
        .and_then(|end| frame.get(at..end))
        .ok_or_else(outside)?;
    let ids = vault.ring.id_key(location.frame.pack.epoch());
    let decoded = ids.and_then(|ids| Node::decode(bytes, &child.id, level, &ids));
    decoded.map_err(|error| Error::format(&object, error))
}

/// Walks over the leaves that are not all zeros.
pub(crate) struct LeafCursor {
    root: Option<Child>,
    root_level: u8,
}

/// A leaf and its number in the stream.
pub(crate) type NumberedLeaf = (u64, Box<[Option<LeafChunk>; FAN_OUT]>);

/// A node that cannot be read.
pub(crate) struct LostNode {
    pub(crate) child: Child,
    /// The leaves below it.
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) error: Error,
}

impl LeafCursor {
    pub(crate) fn new(stream: &StreamRecord) -> Result<Self> {
        let root_level = root_level(stream.size);
        let root_level = root_level.map_err(|_| Error::misuse("streams are at most 4 PiB"))?;
        Ok(Self {
            root: root_child(stream)?,
            root_level,
        })
    }

    /// The first leaf that is not all zeros, at or behind `from`.
    pub(crate) async fn next(
        &self,
        vault: &Arc<Inner>,
        mut from: u64,
    ) -> std::result::Result<Option<NumberedLeaf>, LostNode> {
        'from_root: loop {
            let Some(mut child) = self.root else {
                return Ok(None);
            };
            let (mut level, mut first) = (self.root_level, 0_u64);
            loop {
                let end = first + leaves_below(level);
                let loaded = load(vault, &child, level).await;
                let node = loaded.map_err(|error| LostNode {
                    child,
                    first,
                    end,
                    error,
                })?;
                let children = match node {
                    Node::Leaf(chunks) if first >= from => return Ok(Some((first, chunks))),
                    Node::Leaf(_) => return Ok(None),
                    Node::Inner(_, children) => children,
                };
                let span = leaves_below(level - 1);
                let skip = usize::try_from(from.saturating_sub(first) / span).unwrap_or(FAN_OUT);
                let found = children
                    .iter()
                    .enumerate()
                    .skip(skip)
                    .find_map(|(slot, child)| child.map(|child| (slot, child)));
                let Some((slot, next)) = found else {
                    if level == self.root_level {
                        return Ok(None);
                    }
                    from = end;
                    continue 'from_root;
                };
                first += slot as u64 * span;
                from = from.max(first);
                child = next;
                level -= 1;
            }
        }
    }
}

/// How many leaves a node covers.
pub(crate) fn leaves_below(level: u8) -> u64 {
    1 << (FAN_OUT.ilog2() * u32::from(level))
}
