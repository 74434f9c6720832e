//! Which packs a tree leads to.

use std::collections::BTreeSet;
use std::sync::Arc;

use tresor_model::StreamRecord;
use tresor_vault_format::limits::FAN_OUT;
use tresor_vault_format::{Child, Node, PackId, root_level};

use crate::error::{Error, Result};
use crate::tree::{load, root_child};
use crate::vault::Inner;

type Children = [Option<(Child, u8)>; FAN_OUT];

/// Adds the packs of nodes and chunks of `new`, without the subtrees that `old` has in the same
/// place: those nodes and no others, so the same packs. What cannot be read is passed over: there is
/// nothing to hold, and verifying tells.
pub(super) async fn packs(
    vault: &Arc<Inner>,
    old: Option<&StreamRecord>,
    new: &StreamRecord,
    packs: &mut BTreeSet<PackId>,
) -> Result<()> {
    let old = match old {
        Some(old) => root_child(old)?.map(|child| (child, old.size)),
        None => None,
    };
    let old = old.map(|(child, size)| Ok::<_, Error>((child, level_of(size)?)));
    let Some(root) = root_child(new)? else {
        return Ok(());
    };
    let mut pairs = vec![(old.transpose()?, root, level_of(new.size)?)];
    while let Some((old, new, level)) = pairs.pop() {
        if old == Some((new, level)) {
            continue;
        }
        packs.insert(new.location.frame.pack);
        let children = match load(vault, &new, level).await {
            Ok(Node::Leaf(chunks)) => {
                packs.extend(chunks.iter().flatten().map(|chunk| chunk.frame.pack));
                continue;
            }
            Ok(Node::Inner(_, children)) => children,
            Err(error) if error.object_and_reason().is_some() => continue,
            Err(error) => return Err(error),
        };
        let before = children_of(vault, old, level).await?;
        let below = before.iter().zip(children.iter());
        pairs.extend(below.filter_map(|(old, new)| Some((*old, (*new)?, level - 1))));
    }
    Ok(())
}

/// What lies below the old node at the places of a new one of `level`. A stream that has grown has
/// levels that the one before had not: its tree is all below the first child of those.
async fn children_of(
    vault: &Arc<Inner>,
    old: Option<(Child, u8)>,
    level: u8,
) -> Result<Box<Children>> {
    let mut before: Box<Children> = Box::new([None; FAN_OUT]);
    match old {
        Some((_, of)) if of < level => before[0] = old,
        Some((child, of)) if of == level => match load(vault, &child, level).await {
            Ok(Node::Inner(_, children)) => {
                for (to, from) in before.iter_mut().zip(children.iter()) {
                    *to = from.map(|child| (child, level - 1));
                }
            }
            Ok(Node::Leaf(_)) => {}
            Err(error) if error.object_and_reason().is_some() => {}
            Err(error) => return Err(error),
        },
        _ => {}
    }
    Ok(before)
}

fn level_of(size: u64) -> Result<u8> {
    root_level(size).map_err(|_| Error::misuse("streams are at most 4 PiB"))
}
