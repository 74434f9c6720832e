//! Which points to copy, and over which. Pure.

use std::collections::{HashMap, HashSet};

use tresor_model::{PointId, VaultId};

use crate::session::PointSummary;

/// What is to be copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyChoice {
    /// Only points of VMs of these names, or with these ids; empty: all.
    pub names: Vec<String>,
    /// Only these points.
    pub points: Vec<PointId>,
    /// Of each VM, only so many of the newest; `None`: all.
    pub newest: Option<usize>,
    /// Also points that are older than the newest one that was copied. The other vault's retention
    /// may have removed them without a trace, so they are left alone unless they are asked for.
    pub older: bool,
}

/// A point that is to be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedCopy {
    /// The point.
    pub point: PointSummary,
    /// Another point of the VM in the same vault that will be in the other one by then.
    pub base: Option<PointId>,
}

/// The points of `source` that `target` neither has nor had, as far as is known, each VM's oldest
/// first.
///
/// `target` holds all points of that vault, the expired ones too: what its retention has removed is
/// not brought back. What is named by its id is copied also when it is older than others there.
#[must_use]
pub fn plan_copies(
    source: (VaultId, &[PointSummary]),
    target: (VaultId, &[PointSummary], &HashSet<PointId>),
    choice: &CopyChoice,
) -> Vec<PlannedCopy> {
    let (from, points) = source;
    let (to, there, expired) = target;
    let had: HashSet<_> = there.iter().map(|point| point.origin(to)).collect();
    let alive = there.iter().filter(|point| !expired.contains(&point.id));
    let mut has: HashSet<_> = alive.map(|point| point.origin(to)).collect();
    let mut sorted: Vec<&PointSummary> = points.iter().collect();
    sorted.sort_by_key(|point| (point.vm, point.age()));
    let mut copies = Vec::new();
    let mut last = HashMap::new();
    let chosen = chosen(&sorted, choice);
    let copied = sorted
        .iter()
        .filter(|point| had.contains(&point.origin(from)));
    let newest: HashMap<_, _> = copied.map(|point| (point.vm, point.age())).collect();
    for point in sorted {
        let origin = point.origin(from);
        let is_older = newest
            .get(&point.vm)
            .is_some_and(|newest| point.age() < *newest);
        let in_time = !is_older || choice.older || choice.points.contains(&point.id);
        if in_time && chosen.contains(&point.id) && !had.contains(&origin) {
            copies.push(PlannedCopy {
                point: point.clone(),
                base: last.get(&point.vm).copied(),
            });
            has.insert(origin);
        }
        if has.contains(&origin) {
            last.insert(point.vm, point.id);
        }
    }
    copies
}

/// `points` are sorted by VM and age.
fn chosen(points: &[&PointSummary], choice: &CopyChoice) -> HashSet<PointId> {
    let mut newer = HashMap::new();
    let mut chosen = HashSet::new();
    for point in points.iter().rev() {
        let named = choice.names.contains(&point.vm_name);
        let all = choice.names.is_empty() && choice.points.is_empty();
        if !(all || named || choice.points.contains(&point.id)) {
            continue;
        }
        let newer: &mut usize = newer.entry(point.vm).or_default();
        if choice.newest.is_none_or(|most| *newer < most) {
            chosen.insert(point.id);
        }
        *newer += 1;
    }
    chosen
}

#[cfg(test)]
mod tests;
