//! What to do about what a snapshot left. Pure.

use std::path::PathBuf;

use tresor_disk::Outcome;
use tresor_model::SnapshotTag;
use tresor_qmp::commands::bitmap::{Action, BitmapEnable, BitmapInfo, BitmapMerge, BitmapRemove};

use crate::naming::{Follows, Role, bitmap_of};

/// What there is of one tag.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// Whether the VM's CPUs run.
    pub(crate) running: bool,
    /// The object that says that we stopped the VM.
    pub(crate) stop_mark: Option<String>,
    /// Exports of ours.
    pub(crate) exports: Vec<String>,
    /// Jobs of ours.
    pub(crate) jobs: Vec<String>,
    /// Nodes of ours.
    pub(crate) nodes: Vec<(Role, String)>,
    /// Devices on our filters, with the node below the filter.
    pub(crate) moved: Vec<(String, String)>,
    /// Nodes with bitmaps, and all their named bitmaps (also those that are not ours).
    pub(crate) bitmaps: Vec<(String, Vec<BitmapInfo>)>,
    /// Whether the NBD server is ours and nobody else exports by it.
    pub(crate) server: bool,
    /// Whether it is ours and somebody else exports by it: then it has to stay for now.
    pub(crate) server_shared: bool,
    /// Files and directories of ours.
    pub(crate) files: Vec<PathBuf>,
    /// The fleecing files that QEMU has open.
    pub(crate) stores: Vec<PathBuf>,
}

/// One step. Users of a thing end before the thing.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Let the VM run on.
    Continue,
    /// Remove the mark that it was stopped by us.
    RemoveMark(String),
    /// End an export and wait until it is gone.
    EndExport(String),
    /// End a job and forget it.
    EndJob(String),
    /// Put the bitmaps of one node in order.
    RollBitmaps {
        /// The bitmap that goes.
        removed: String,
        /// All of it, in one transaction.
        actions: Vec<Action>,
    },
    /// Give a device its image back.
    MoveBack {
        /// QOM path of the device.
        device: String,
        /// The node it used before.
        node: String,
    },
    /// Remove a node.
    RemoveNode(String),
    /// Stop the NBD server.
    StopServer,
    /// Remove a file, or a directory with what is in it.
    RemoveFile(PathBuf),
}

impl Step {
    /// Whether it is for the guest's sake: these come first, and wait for nothing.
    pub(crate) fn frees_the_guest(&self) -> bool {
        matches!(self, Self::Continue | Self::RemoveMark(_))
    }

    /// The name of what the step removes, for the report.
    pub(crate) fn removes(&self) -> Option<String> {
        match self {
            Self::Continue | Self::MoveBack { .. } => None,
            Self::RemoveMark(name)
            | Self::EndExport(name)
            | Self::EndJob(name)
            | Self::RemoveNode(name)
            | Self::RollBitmaps { removed: name, .. } => Some(name.clone()),
            Self::StopServer => Some("the NBD server".to_owned()),
            Self::RemoveFile(path) => Some(path.display().to_string()),
        }
    }
}

/// The steps, in order: the guest first.
pub(crate) fn plan(tag: &SnapshotTag, outcome: Outcome, found: &Found) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(mark) = &found.stop_mark {
        if !found.running {
            steps.push(Step::Continue);
        }
        steps.push(Step::RemoveMark(mark.clone()));
    }
    steps.extend(found.exports.iter().cloned().map(Step::EndExport));
    let snapshots = nodes_of(found, Role::Snapshot);
    steps.extend(snapshots.map(Step::RemoveNode));
    for (node, bitmaps) in &found.bitmaps {
        steps.extend(plan_bitmaps(tag, outcome, node, bitmaps));
    }
    for (device, node) in &found.moved {
        steps.push(Step::MoveBack {
            device: device.clone(),
            node: node.clone(),
        });
    }
    steps.extend(found.jobs.iter().cloned().map(Step::EndJob));
    for role in [Role::Filter, Role::Fleecing, Role::Limit, Role::File] {
        steps.extend(nodes_of(found, role).map(Step::RemoveNode));
    }
    if found.server {
        steps.push(Step::StopServer);
    }
    steps.extend(found.files.iter().cloned().map(Step::RemoveFile));
    steps
}

fn nodes_of(found: &Found, wanted: Role) -> impl Iterator<Item = String> {
    let ours = found.nodes.iter().filter(move |(role, _)| *role == wanted);
    ours.map(|(_, name)| name.clone())
}

/// Of one node: committed, the bitmap before goes; abandoned, it takes over what the new one
/// recorded. The old one alone would lack the writes since the snapshot, so if the two cannot be
/// merged, or somebody kept both from recording, it is left as it is, not recording, and the next
/// judgement does not trust it.
fn plan_bitmaps(
    tag: &SnapshotTag,
    outcome: Outcome,
    node: &str,
    bitmaps: &[BitmapInfo],
) -> Option<Step> {
    let (new, follows) = bitmaps.iter().find_map(|bitmap| {
        let (owner, follows) = bitmap_of(bitmap.name.as_deref()?)?;
        (owner == *tag).then_some((bitmap, follows))
    })?;
    let previous = follows.previous().and_then(|previous| {
        bitmaps.iter().find(|bitmap| {
            let name = bitmap.name.as_deref();
            name.and_then(bitmap_of)
                .is_some_and(|(owner, _)| owner == *previous)
        })
    });
    let (new_name, previous_name) = (new.name.clone()?, previous.and_then(|b| b.name.clone()));
    match (outcome, previous, previous_name) {
        (Outcome::Committed, Some(_), Some(previous)) => Some(Step::RollBitmaps {
            actions: vec![remove(node, &previous)],
            removed: previous,
        }),
        (Outcome::Committed, _, _) => None,
        (Outcome::Abandoned, Some(old), Some(previous))
            if matches!(follows, Follows::Continues(_))
                && !old.inconsistent
                && !new.inconsistent
                && (old.recording || new.recording) =>
        {
            Some(Step::RollBitmaps {
                actions: merge_back(node, &previous, &new_name),
                removed: new_name,
            })
        }
        (Outcome::Abandoned, _, _) => Some(Step::RollBitmaps {
            actions: vec![remove(node, &new_name)],
            removed: new_name,
        }),
    }
}

fn merge_back(node: &str, previous: &str, new: &str) -> Vec<Action> {
    vec![
        Action::BlockDirtyBitmapEnable(BitmapEnable {
            node: node.to_owned(),
            name: previous.to_owned(),
        }),
        Action::BlockDirtyBitmapMerge(BitmapMerge {
            node: node.to_owned(),
            target: previous.to_owned(),
            bitmaps: vec![new.to_owned()],
        }),
        remove(node, new),
    ]
}

fn remove(node: &str, name: &str) -> Action {
    Action::BlockDirtyBitmapRemove(BitmapRemove {
        node: node.to_owned(),
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "tresor-aaaaaaaaaa-b";
    const NEW: &str = "tresor-bbbbbbbbbb-b-caaaaaaaaaa";

    fn tag() -> SnapshotTag {
        SnapshotTag::of_name("tresor-bbbbbbbbbb").expect("valid")
    }

    fn bitmap(name: &str, recording: bool) -> BitmapInfo {
        BitmapInfo {
            name: Some(name.to_owned()),
            count: 0,
            granularity: 65536,
            recording,
            busy: false,
            persistent: true,
            inconsistent: false,
        }
    }

    fn actions(outcome: Outcome, bitmaps: &[BitmapInfo]) -> String {
        match plan_bitmaps(&tag(), outcome, "d0", bitmaps) {
            Some(Step::RollBitmaps { actions, .. }) => {
                let words = actions.iter().map(|action| match action {
                    Action::BlockDirtyBitmapEnable(a) => format!("enable {}", a.name),
                    Action::BlockDirtyBitmapMerge(a) => {
                        format!("merge {:?} {}", a.bitmaps, a.target)
                    }
                    Action::BlockDirtyBitmapRemove(a) => format!("remove {}", a.name),
                    other => format!("{other:?}"),
                });
                words.collect::<Vec<_>>().join(", ")
            }
            _ => String::new(),
        }
    }

    #[test]
    fn committed_removes_the_bitmap_before() {
        let both = [bitmap(OLD, false), bitmap(NEW, true)];
        assert_eq!(actions(Outcome::Committed, &both), format!("remove {OLD}"));
        assert_eq!(actions(Outcome::Committed, &[bitmap(NEW, true)]), "");
    }

    #[test]
    fn abandoned_gives_the_old_bitmap_what_the_new_one_recorded() {
        let both = [bitmap(OLD, false), bitmap(NEW, true)];
        let expected = format!("enable {OLD}, merge [\"{NEW}\"] {OLD}, remove {NEW}");
        assert_eq!(actions(Outcome::Abandoned, &both), expected);
    }

    #[test]
    fn an_old_bitmap_that_lacks_writes_is_never_enabled() {
        assert_eq!(actions(Outcome::Abandoned, &[bitmap(OLD, false)]), "");
        let mut broken = bitmap(NEW, false);
        broken.inconsistent = true;
        let both = [bitmap(OLD, false), broken];
        assert_eq!(actions(Outcome::Abandoned, &both), format!("remove {NEW}"));
        // Somebody disabled the new one: the writes since are in neither.
        let both = [bitmap(OLD, false), bitmap(NEW, false)];
        assert_eq!(actions(Outcome::Abandoned, &both), format!("remove {NEW}"));
    }

    #[test]
    fn bitmaps_of_others_are_never_touched() {
        let others = [
            bitmap("libvirt-1", true),
            bitmap("tresor-cccccccccc-b", true),
        ];
        assert_eq!(actions(Outcome::Committed, &others), "");
        assert_eq!(actions(Outcome::Abandoned, &others), "");
    }

    #[test]
    fn the_guest_comes_first_and_users_go_before_what_they_use() {
        let found = Found {
            stop_mark: Some("m".to_owned()),
            exports: vec!["e".to_owned()],
            nodes: vec![
                (Role::File, "p".to_owned()),
                (Role::Filter, "c".to_owned()),
                (Role::Snapshot, "s".to_owned()),
                (Role::Fleecing, "f".to_owned()),
            ],
            moved: vec![("vda".to_owned(), "d0".to_owned())],
            server: true,
            files: vec![PathBuf::from("/x")],
            ..Found::default()
        };
        let order: Vec<String> = plan(&tag(), Outcome::Abandoned, &found)
            .iter()
            .map(|step| match step {
                Step::Continue => "cont".to_owned(),
                Step::MoveBack { device, node } => format!("{device}={node}"),
                other => other.removes().expect("removes"),
            })
            .collect();
        let expected = [
            "cont",
            "m",
            "e",
            "s",
            "vda=d0",
            "c",
            "f",
            "p",
            "the NBD server",
            "/x",
        ];
        assert_eq!(order, expected);
    }
}
