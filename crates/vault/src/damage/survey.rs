//! What recovery points have lost, by their manifests: no data is read.
//!
//! A chunk counts as lost when its pack is missing or marked and no other pack is known to hold it.
//! What is damaged inside of a pack that nobody has marked is not seen here: verifying finds it, and
//! marks the pack.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::future::BoxFuture;
use tresor_model::{Extent, ExtentSet, StreamRecord};
use tresor_vault_format::{Child, Node, NodeId, PackId, name, node_span, root_level};

use crate::damage::marked_packs;
use crate::error::{Error, Result};
use crate::read::reader::CHUNK;
use crate::tree::{load, root_child};
use crate::vault::{Inner, Vault};

/// What a stream has lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    /// The parts of the stream that cannot be read, rising, not touching.
    pub extents: Vec<Extent>,
    /// Objects that are damaged or missing.
    pub objects: Vec<String>,
    nodes: Vec<NodeId>,
}

impl Losses {
    /// Bytes of the stream that cannot be read; where the manifest is lost, all that it tells of.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.length).sum()
    }
}

/// What a session writes anew though it is in the vault, because it is damaged there.
#[derive(Debug, Clone, Default)]
pub struct Heal {
    /// Marked packs: leaves do not go on referring to them.
    pub(crate) packs: HashSet<PackId>,
    /// Nodes that cannot be read.
    pub(crate) nodes: HashSet<NodeId>,
}

impl Heal {
    /// Whether a pack is a damaged one.
    pub(crate) fn has_pack(&self, pack: &PackId) -> bool {
        !self.packs.is_empty() && self.packs.contains(pack)
    }
}

/// Looks for losses. Parts that points share are looked at once.
pub struct Survey {
    vault: Arc<Inner>,
    marked: HashSet<PackId>,
    /// Packs that are there and count as lost all the same.
    doubted: HashSet<PackId>,
    seen: HashMap<(NodeId, u8), Arc<Lost>>,
    lost_nodes: HashSet<NodeId>,
    /// What is lost below a node that is whole.
    nothing: Arc<Lost>,
}

/// What is lost below a node; offsets count from its first byte.
#[derive(Default)]
struct Lost {
    extents: Vec<Extent>,
    objects: HashSet<String>,
    nodes: Vec<NodeId>,
}

impl Vault {
    /// Begins a survey of what is lost now.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn survey(&self) -> Result<Survey> {
        self.inner.elsewhere.forget().await;
        Ok(Survey {
            marked: marked_packs(&self.inner).await?,
            vault: Arc::clone(&self.inner),
            doubted: HashSet::new(),
            seen: HashMap::new(),
            lost_nodes: HashSet::new(),
            nothing: Arc::default(),
        })
    }
}

impl Survey {
    /// Counts packs among these objects as lost: they are there, but not in their full size.
    pub fn doubt<'a>(&mut self, objects: impl IntoIterator<Item = &'a str>) {
        let packs = objects.into_iter().filter_map(name::parse_pack);
        self.doubted.extend(packs);
    }

    /// What one stream has lost.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Misuse`] when the record is not from a recovery point; when the storage
    /// fails.
    pub async fn stream(&mut self, stream: &StreamRecord) -> Result<Losses> {
        let level = root_level(stream.size);
        let level = level.map_err(|_| Error::misuse("streams are at most 4 PiB"))?;
        let Some(root) = root_child(stream)? else {
            return Ok(Losses::default());
        };
        let lost = self.node(root, level).await?;
        let whole = Extent::between(0, stream.size);
        let extents = lost.extents.iter().map(|extent| extent.intersect(&whole));
        let extents = ExtentSet::from_unsorted(extents.collect());
        let mut objects: Vec<String> = lost.objects.iter().cloned().collect();
        objects.sort_unstable();
        Ok(Losses {
            extents: extents.iter().copied().collect(),
            objects,
            nodes: lost.nodes.clone(),
        })
    }

    /// What a backup has to write anew of all streams that were looked at.
    #[must_use]
    pub fn heal(&self) -> Heal {
        Heal {
            packs: self.marked.clone(),
            ..self.heal_nodes()
        }
    }

    /// The same for a repair, which makes no point whose leaves could refer to another pack.
    #[must_use]
    pub fn heal_nodes(&self) -> Heal {
        Heal {
            packs: HashSet::new(),
            nodes: self.lost_nodes.clone(),
        }
    }

    fn node(&mut self, child: Child, level: u8) -> BoxFuture<'_, Result<Arc<Lost>>> {
        Box::pin(async move {
            if let Some(seen) = self.seen.get(&(child.id, level)) {
                return Ok(Arc::clone(seen));
            }
            let lost = match load(&self.vault, &child, level).await {
                Ok(Node::Leaf(chunks)) => self.leaf(&chunks[..]).await?,
                Ok(Node::Inner(_, children)) => self.inner(&children[..], level).await?,
                Err(error) => {
                    let Some((object, _)) = error.object_and_reason() else {
                        return Err(error);
                    };
                    self.lost_nodes.insert(child.id);
                    Lost {
                        extents: vec![Extent::between(0, node_span(level))],
                        objects: HashSet::from([object]),
                        nodes: vec![child.id],
                    }
                }
            };
            let lost = if lost.extents.is_empty() {
                Arc::clone(&self.nothing)
            } else {
                Arc::new(lost)
            };
            self.seen.insert((child.id, level), Arc::clone(&lost));
            Ok(lost)
        })
    }

    async fn inner(&mut self, children: &[Option<Child>], level: u8) -> Result<Lost> {
        let mut all = Lost::default();
        for (slot, child) in (0..).zip(children) {
            let Some(child) = child else { continue };
            let below = self.node(*child, level - 1).await?;
            let first = slot * node_span(level - 1);
            all.extents
                .extend(below.extents.iter().map(|extent| Extent {
                    start: first + extent.start,
                    length: extent.length,
                }));
            all.objects.extend(below.objects.iter().cloned());
            all.nodes.extend(&below.nodes);
        }
        Ok(all)
    }

    async fn leaf(&mut self, chunks: &[Option<tresor_vault_format::LeafChunk>]) -> Result<Lost> {
        let mut lost = Lost::default();
        for (slot, chunk) in (0..).zip(chunks) {
            let Some(chunk) = chunk else { continue };
            let pack = &chunk.frame.pack;
            let elsewhere = &self.vault.elsewhere;
            if !self.doubted.contains(pack) && elsewhere.is_sound(&self.vault, pack).await? {
                continue;
            }
            let places = elsewhere.of_chunk(&self.vault, &chunk.id.0, pack);
            if places.await?.is_empty() {
                let at = slot * CHUNK;
                match lost.extents.last_mut() {
                    Some(last) if last.end() == at => last.length += CHUNK,
                    _ => lost.extents.push(Extent {
                        start: at,
                        length: CHUNK,
                    }),
                }
                lost.objects.insert(name::pack(pack));
            }
        }
        Ok(lost)
    }
}
