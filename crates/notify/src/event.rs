//! What can be told.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_model::NotificationId;
use tresor_problem::Problem;

/// What happened. Words of the webhook's body: never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A backup failed, and is not tried again before its next window.
    BackupFailed,
    /// The first backup succeeded after one that failed.
    BackupRecovered,
    /// A VM's next recovery point should be there.
    VmLate,
    /// It is there.
    VmOnTime,
    /// Another problem that lasts.
    AlertOpened,
    /// It is over.
    AlertResolved,
    /// How everything stands, once a day.
    Digest,
    /// Somebody tries a channel.
    Test,
}

impl EventKind {
    /// Those that a channel can be bounded to.
    pub const CHOICE: [Self; 6] = [
        Self::BackupFailed,
        Self::BackupRecovered,
        Self::VmLate,
        Self::VmOnTime,
        Self::AlertOpened,
        Self::AlertResolved,
    ];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::BackupFailed => "backup_failed",
            Self::BackupRecovered => "backup_recovered",
            Self::VmLate => "vm_late",
            Self::VmOnTime => "vm_on_time",
            Self::AlertOpened => "alert_opened",
            Self::AlertResolved => "alert_resolved",
            Self::Digest => "digest",
            Self::Test => "test",
        }
    }
}

/// Something that happened, as it is kept until it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The same for each time that it is sent: who gets it twice can know.
    pub id: NotificationId,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(rename = "event")]
    pub kind: EventKind,
    /// Of which VM, or what else; empty: of everything.
    pub subject: String,
    /// The problem: cause, details, remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// Since when there is that problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What else there is to say, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

/// What goes out at once: what happened together is told together. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Version of this form.
    version: u32,
    /// What happened, oldest first.
    events: Vec<Event>,
}

impl Message {
    /// Of some events; `None` of none.
    #[must_use]
    pub fn new(events: Vec<Event>) -> Option<Self> {
        let version = 1;
        (!events.is_empty()).then_some(Self { version, events })
    }

    /// What happened.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }
}
