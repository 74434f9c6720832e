//! The service at a glance.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How everything stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// The program's version.
    pub version: String,
    /// Until when the process that schedules has said that it lives; `null`: none ever did.
    pub scheduled_until: Option<Timestamp>,
    /// The time zone of schedules that name none; `null`: it has no name.
    pub zone: Option<String>,
    /// Protected items by how they stand.
    pub items: ItemCounts,
    /// Jobs that wait; 10,000: or more.
    pub jobs_queued: usize,
    /// Jobs that run.
    pub jobs_running: usize,
    /// Alerts that are open; 1,000: or more.
    pub alerts_open: usize,
}

/// Numbers of protected items.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ItemCounts {
    /// Their last recovery point is as young as their policy promises.
    pub fresh: u64,
    /// They wait for their first.
    pub waiting: u64,
    /// Their next one should be there.
    pub late: u64,
    /// No backups are made.
    pub stopped: u64,
    /// Their policy cannot be asked on this machine.
    pub unknown: u64,
}
