//! What one stream has and another has not, by walking both trees in step.
//!
//! Subtrees with the same id are passed over: cost follows the difference (I9). Both streams are
//! of one vault; ids that were made with another key are different ids, which costs, and is right.

use std::ops::Range;
use std::sync::Arc;

use tresor_model::StreamRecord;
use tresor_vault_format::limits::FAN_OUT;
use tresor_vault_format::{Child, LeafChunk, Node, root_level};

use crate::error::{Error, Result};
use crate::tree::{leaves_below, load, root_child};
use crate::vault::Inner;

/// A difference. Leaves rise from one to the next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Chunks of a leaf that are others now, by their slots; `None`: zeros.
    Chunks(u64, Vec<(usize, Option<LeafChunk>)>),
    /// Whole leaves that are zeros now.
    Zeros(Range<u64>),
}

/// A tree, or what stands for one above it: a stream that has grown has levels that the one before
/// had not.
#[derive(Clone, Copy)]
struct Old {
    child: Child,
    level: u8,
}

struct Pair {
    level: u8,
    first: u64,
    old: Option<Old>,
    new: Option<Child>,
}

/// The differences, one after the other.
pub(crate) struct Diff {
    vault: Arc<Inner>,
    /// What is still to be compared, the next one last.
    pairs: Vec<Pair>,
}

impl Diff {
    /// What `new` has that `old` has not. `old` is not the larger one.
    pub(crate) fn new(vault: &Arc<Inner>, old: &StreamRecord, new: &StreamRecord) -> Result<Self> {
        if old.size > new.size {
            return Err(Error::misuse(
                "a stream is compared with one that is not larger",
            ));
        }
        let level_of = |stream: &StreamRecord| {
            root_level(stream.size).map_err(|_| Error::misuse("streams are at most 4 PiB"))
        };
        let (old_level, level) = (level_of(old)?, level_of(new)?);
        let old = root_child(old)?.map(|child| Old {
            child,
            level: old_level,
        });
        let pair = Pair {
            level,
            first: 0,
            old,
            new: root_child(new)?,
        };
        Ok(Self {
            vault: Arc::clone(vault),
            pairs: vec![pair],
        })
    }

    /// The next difference.
    pub(crate) async fn next(&mut self) -> Result<Option<Change>> {
        while let Some(pair) = self.pairs.pop() {
            match (pair.old, pair.new) {
                (None, None) => {}
                (Some(old), Some(new)) if old.level == pair.level && old.child.id == new.id => {}
                (Some(_), None) => {
                    let end = pair.first + leaves_below(pair.level);
                    return Ok(Some(Change::Zeros(pair.first..end)));
                }
                (old, Some(new)) if pair.level == 0 => {
                    let changes = self.leaf(old, &new).await?;
                    return Ok(Some(Change::Chunks(pair.first, changes)));
                }
                (old, Some(new)) => self.descend(pair.level, pair.first, old, &new).await?,
            }
        }
        Ok(None)
    }

    async fn leaf(&self, old: Option<Old>, new: &Child) -> Result<Vec<(usize, Option<LeafChunk>)>> {
        let before = match old {
            Some(old) => load(&self.vault, &old.child, 0).await?,
            None => Node::empty(0),
        };
        let (Node::Leaf(before), Node::Leaf(now)) = (before, load(&self.vault, new, 0).await?)
        else {
            return Err(Error::system("read a leaf"));
        };
        let id = |chunk: &Option<LeafChunk>| chunk.map(|chunk| chunk.id);
        let differs = |slot: &usize| id(&before[*slot]) != id(&now[*slot]);
        Ok((0..FAN_OUT)
            .filter(differs)
            .map(|slot| (slot, now[slot]))
            .collect())
    }

    async fn descend(
        &mut self,
        level: u8,
        first: u64,
        old: Option<Old>,
        new: &Child,
    ) -> Result<()> {
        let mut before: [Option<Old>; FAN_OUT] = [None; FAN_OUT];
        match old {
            // Its tree is all below the first child of the levels that it has not.
            Some(old) if old.level < level => before[0] = Some(old),
            Some(old) => {
                let children = self.children(&old.child, level).await?;
                for (to, from) in before.iter_mut().zip(children.iter()) {
                    *to = from.map(|child| Old {
                        child,
                        level: level - 1,
                    });
                }
            }
            None => {}
        }
        let now = self.children(new, level).await?;
        let span = leaves_below(level - 1);
        let pairs = (0_u64..).zip(before.into_iter().zip(now.iter()));
        let pairs: Vec<_> = pairs
            .map(|(slot, (old, new))| Pair {
                level: level - 1,
                first: first + slot * span,
                old,
                new: *new,
            })
            .collect();
        self.pairs.extend(pairs.into_iter().rev());
        Ok(())
    }

    async fn children(&self, child: &Child, level: u8) -> Result<Box<[Option<Child>; FAN_OUT]>> {
        match load(&self.vault, child, level).await? {
            Node::Inner(_, children) => Ok(children),
            Node::Leaf(_) => Err(Error::system("read an inner node")),
        }
    }
}
