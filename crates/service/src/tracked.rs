//! One protected item, as the scheduling process follows it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tresor_catalog::{ItemRecord, Memory, RunEnd};
use tresor_model::JobId;
use tresor_schedule::{Expected, Item, Outcome, Place, Priority, Window};

use crate::{
    ended::{End, Made, expected},
    fleet::Effect,
    outlook::Outlook,
};

/// What a run takes of which nothing is known yet.
const UNKNOWN: Duration = Duration::from_secs(300);

/// An item as it is followed.
#[derive(Debug)]
pub(crate) struct Tracked {
    pub(crate) record: ItemRecord,
    pub(crate) outlook: Arc<Outlook>,
    /// Its job that waits or runs.
    pub(crate) job: Option<JobId>,
    /// Windows that open no later are over for it.
    pub(crate) over: Option<Timestamp>,
}

impl Tracked {
    /// The window in which it is to start next; `None`: it is never due again.
    pub(crate) fn next_window(&self, now: Timestamp) -> Option<Window> {
        let memory = &self.record.memory;
        if let Some(open) = memory.open_window
            && let Some(window) = self.outlook.window_at(open, memory.last_point_at, now)
        {
            return Some(window);
        }
        let served = memory.last_started_at.max(Some(self.record.since))?;
        self.outlook
            .window_after(served, self.over, memory.last_point_at, now)
    }

    /// The same as the scheduler has it.
    pub(crate) fn item(&self, window: Window) -> Item {
        let memory = &self.record.memory;
        Item {
            id: self.record.vm,
            place: place_of(&self.record),
            window,
            expected: Expected {
                duration: memory.expected_s.map_or(UNKNOWN, Duration::from_secs),
                bytes: memory.expected_bytes.unwrap_or(0),
            },
            last_point: memory.last_point_at,
            priority: Priority::Normal,
            not_before: memory.not_before,
            kept: memory.slot_s.map(Duration::from_secs),
        }
    }

    /// Nothing starts for this window any more, nor is anything tried again for it.
    pub(crate) fn pass_over(&mut self, opens: Timestamp) -> Option<Effect> {
        self.over = self.over.max(Some(opens));
        let memory = &mut self.record.memory;
        if memory.open_window != Some(opens) {
            return None;
        }
        give_up_window(memory);
        let (vm, end) = (self.record.vm, RunEnd::GivenUp);
        Some(Effect::Ended { vm, end })
    }

    /// Takes the end in; what the scheduler and the catalog are told.
    pub(crate) fn record_end(&mut self, end: &End) -> (Outcome, RunEnd) {
        let memory = &mut self.record.memory;
        match end {
            End::Point(Made {
                taken_at,
                took,
                stored,
            }) => {
                let expected_s = expected(memory.expected_s, took.as_secs().max(1));
                let expected_bytes = expected(memory.expected_bytes, *stored);
                memory.last_point_at = Some(*taken_at);
                memory.expected_s = Some(expected_s);
                memory.expected_bytes = Some(expected_bytes);
                give_up_window(memory);
                let end = RunEnd::Succeeded {
                    point_at: *taken_at,
                    expected_s,
                    expected_bytes,
                };
                (Outcome::Succeeded, end)
            }
            End::Failed {
                retry_at: Some(again),
                ..
            }
            | End::Stopped { again_at: again } => {
                memory.not_before = Some(*again);
                let outcome = Outcome::Failed {
                    retry_at: Some(*again),
                };
                (outcome, RunEnd::Retries { not_before: *again })
            }
            End::Cancelled | End::Failed { retry_at: None, .. } => {
                give_up_window(memory);
                (Outcome::Failed { retry_at: None }, RunEnd::GivenUp)
            }
        }
    }
}

fn give_up_window(memory: &mut Memory) {
    memory.open_window = None;
    memory.not_before = None;
    memory.attempt = 0;
}

/// What it shares with others.
pub(crate) fn place_of(record: &ItemRecord) -> Place {
    let host = record.host.map(|host| host.to_string());
    Place {
        host: host.unwrap_or_else(|| crate::LOCAL_LANE.to_owned()),
        vault: record.vault.clone(),
        group: None,
    }
}
