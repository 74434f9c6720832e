//! The swap: what runs while the guest is frozen or stopped.
//!
//! # Ordering
//! First the new bitmaps are added and begin to record. Then one write carries everything else,
//! so that no round trip and no cancelled task can come between `stop` and `cont`. Last the
//! previous bitmaps are disabled, by a transaction that also enables the new ones: it fails as a
//! whole when a new one is missing, so never is nobody recording.
//!
//! # After a crash
//! The object `<tag>-stop` exists before `stop` and is removed after `cont`: `release` continues
//! a VM that has it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use tresor_disk::{BitmapJudgement, Error, Outcome, PauseMode, Prepared, Session, SnapshotDisk};
use tresor_model::{Fact, ReadMode, SnapshotTag, StreamName, TrackingLedger, VmId};
use tresor_qmp::{
    Command,
    commands::{
        bitmap::{Action, BitmapAdd, BitmapDisable, BitmapEnable, Transaction},
        machine::{Cont, QueryStatus, Stop},
        object::{ObjectAdd, ObjectDel, QomSet},
    },
};

use crate::{
    connect::Lease,
    facts, failure,
    judge::GRANULARITY,
    naming::{self, Role},
    prepare::PlannedDisk,
    provider::Host,
    release,
    session::{QemuSession, Taken},
};

/// How long the replies to the swap are awaited. The commands take milliseconds; `stop` waits for
/// the guest's writes under way, so slow storage can take longer.
const SWAP_LIMIT: Duration = Duration::from_secs(30);

/// A snapshot that is ready to be taken.
#[derive(Debug)]
pub(crate) struct PreparedSnapshot {
    pub(crate) host: Arc<Host>,
    pub(crate) client: Lease,
    pub(crate) vm: VmId,
    pub(crate) tag: SnapshotTag,
    pub(crate) disks: Vec<PlannedDisk>,
}

#[async_trait]
impl Prepared for PreparedSnapshot {
    fn judgements(&self) -> Vec<(StreamName, BitmapJudgement)> {
        self.disks
            .iter()
            .map(|disk| (disk.name.clone(), disk.judgement.clone()))
            .collect()
    }

    fn facts(&self) -> Vec<Fact> {
        facts::of_disks(&self.disks, Timestamp::now())
    }

    async fn take(self: Box<Self>, pause: PauseMode) -> Result<Box<dyn Session>, Error> {
        match self.swap(pause).await {
            Ok(paused_for) => Ok(Box::new(self.into_session(paused_for))),
            Err(error) => {
                let undone = release::release(&self.host, &self.tag, Outcome::Abandoned).await;
                if let Err(left) = undone {
                    tracing::warn!(error = %left, tag = %self.tag, "a failed take left something");
                }
                Err(error)
            }
        }
    }

    async fn abandon(self: Box<Self>) -> Result<(), Error> {
        release::release(&self.host, &self.tag, Outcome::Abandoned).await?;
        Ok(())
    }
}

impl PreparedSnapshot {
    /// Adds the bitmaps and moves the devices. Gives how long the VM was held.
    async fn swap(&self, pause: PauseMode) -> Result<Option<Duration>, Error> {
        let step = "swap the disks";
        // A frozen guest is not kept waiting for an answer that decides nothing.
        let stop = pause == PauseMode::StopVm && {
            let status = self.client.run(&QueryStatus {}).await;
            status.map_err(failure::qmp(step))?.running
        };
        let actions: Vec<Action> = self.disks.iter().filter_map(add_bitmap).collect();
        if !actions.is_empty() {
            let added = self.client.run(&Transaction { actions }).await;
            added.map_err(failure::qmp("add the new bitmaps"))?;
        }

        let commands = swap_commands(&self.tag, &self.disks, stop).map_err(failure::qmp(step))?;
        let begun = Instant::now();
        let results = self.client.pipeline(commands, SWAP_LIMIT).await;
        let held = begun.elapsed();
        for result in results.map_err(failure::qmp(step))? {
            result.map_err(failure::qmp(step))?;
        }
        Ok(stop.then_some(held))
    }

    fn into_session(self, paused_for: Option<Duration>) -> QemuSession {
        let runtime_dir = &self.host.config.runtime_dir;
        QemuSession::new(Taken {
            socket: naming::socket(runtime_dir, &self.tag, self.vm),
            holder: self.host,
            lease: self.client,
            tag: self.tag,
            disks: self.disks,
            paused_for,
        })
    }
}

/// Begins to record, where that is possible.
pub(crate) fn add_bitmap(disk: &PlannedDisk) -> Option<Action> {
    Some(Action::BlockDirtyBitmapAdd(BitmapAdd {
        node: disk.format_node.clone(),
        name: disk.bitmap.clone()?,
        granularity: GRANULARITY,
        persistent: disk.persistent,
        disabled: false,
    }))
}

/// Everything between the last look at the VM and the thaw, as one write.
fn swap_commands(
    tag: &SnapshotTag,
    disks: &[PlannedDisk],
    stop: bool,
) -> Result<Vec<(String, Value)>, tresor_qmp::Error> {
    let mut commands = Vec::new();
    if stop {
        let mark = ObjectAdd {
            qom_type: "throttle-group".to_owned(),
            id: naming::stop_mark(tag),
        };
        commands.push(mark.to_pipeline()?);
        commands.push(Stop {}.to_pipeline()?);
    }
    let filtered = disks.iter().enumerate().filter(|(_, disk)| disk.filtered);
    for (index, disk) in filtered {
        let set = QomSet {
            path: disk.device.clone(),
            property: "drive".to_owned(),
            value: json!(naming::node(tag, Role::Filter, index)),
        };
        commands.push(set.to_pipeline()?);
    }
    if stop {
        commands.push(Cont {}.to_pipeline()?);
        let id = naming::stop_mark(tag);
        commands.push(ObjectDel { id }.to_pipeline()?);
    }
    let actions: Vec<Action> = disks.iter().flat_map(roll).collect();
    if !actions.is_empty() {
        commands.push(Transaction { actions }.to_pipeline()?);
    }
    Ok(commands)
}

/// Lets the previous bitmap rest, provided that the new one records.
pub(crate) fn roll(disk: &PlannedDisk) -> Vec<Action> {
    let (Some(previous), Some(new)) = (disk.trusted(), &disk.bitmap) else {
        return Vec::new();
    };
    let node = disk.format_node.clone();
    vec![
        Action::BlockDirtyBitmapEnable(BitmapEnable {
            node: node.clone(),
            name: new.clone(),
        }),
        Action::BlockDirtyBitmapDisable(BitmapDisable {
            node,
            name: previous.to_owned(),
        }),
    ]
}

pub(crate) fn snapshot_disk(tag: &SnapshotTag, disk: &PlannedDisk) -> SnapshotDisk {
    SnapshotDisk {
        name: disk.name.clone(),
        size: disk.size,
        read_mode: match &disk.judgement {
            BitmapJudgement::Trusted { bitmap } => ReadMode::Incremental {
                bitmap: bitmap.clone(),
            },
            BitmapJudgement::ReadAll { reason } => ReadMode::Full {
                reason: reason.clone(),
            },
        },
        tracking: TrackingLedger {
            bitmap: disk.bitmap.clone(),
            tag: tag.clone(),
            granularity: u64::from(GRANULARITY),
            persistent: disk.persistent,
            image: disk.image.clone(),
            size: disk.size,
            signs: disk.signs.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use tresor_model::{JobId, TrackingSigns};

    use super::*;

    fn disk(name: &str, judgement: BitmapJudgement) -> PlannedDisk {
        PlannedDisk {
            name: StreamName::new(name).expect("valid"),
            device: format!("/machine/peripheral/{name}"),
            format_node: format!("node-{name}"),
            size: 1 << 20,
            image: "1:2".to_owned(),
            persistent: true,
            signs: TrackingSigns::default(),
            tracked: 1 << 20,
            judgement,
            bitmap: Some("new".to_owned()),
            filtered: true,
        }
    }

    fn names(commands: &[(String, Value)]) -> Vec<&str> {
        commands.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a_stopped_vm_continues_before_anything_that_can_wait() {
        let trusted = BitmapJudgement::Trusted {
            bitmap: "old".to_owned(),
        };
        let disks = [disk("a", trusted.clone()), disk("b", trusted)];
        let tag = SnapshotTag::of_job(JobId::generate());
        let commands = swap_commands(&tag, &disks, true).expect("plain data");
        let expected = [
            "object-add",
            "stop",
            "qom-set",
            "qom-set",
            "cont",
            "object-del",
            "transaction",
        ];
        assert_eq!(names(&commands), expected);
    }

    #[test]
    fn a_disk_that_nobody_writes_is_left_where_it_is() {
        let trusted = BitmapJudgement::ReadAll {
            reason: "no bitmap".to_owned(),
        };
        let mut still = disk("a", trusted);
        (still.bitmap, still.filtered) = (None, false);
        let tag = SnapshotTag::of_job(JobId::generate());
        let commands = swap_commands(&tag, &[still], false).expect("plain data");
        assert!(commands.is_empty());
    }

    #[test]
    fn a_frozen_guest_in_a_full_needs_only_the_swap() {
        let full = BitmapJudgement::ReadAll {
            reason: "first".to_owned(),
        };
        let tag = SnapshotTag::of_job(JobId::generate());
        let commands = swap_commands(&tag, &[disk("a", full)], false).expect("plain data");
        assert_eq!(names(&commands), ["qom-set"]);
    }
}
