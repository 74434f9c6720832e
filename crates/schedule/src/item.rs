//! What the scheduler is told of a protected item.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_model::VmId;

/// A protected item and the window in which it is to start next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its VM: of one VM one job runs at a time.
    pub id: VmId,
    /// What it shares with others.
    pub place: Place,
    /// When it may start.
    pub window: Window,
    /// What its next run is expected to take.
    pub expected: Expected,
    /// The moment whose data its last finished recovery point has.
    pub last_point: Option<Timestamp>,
    /// Who goes first where not all can.
    pub priority: Priority,
    /// Nothing starts before: a back-off that is still on, or a blackout that is.
    pub not_before: Option<Timestamp>,
    /// How long after a window's opening it started so far: [`Placement::offset`] of its last
    /// placement. None when it is new.
    ///
    /// [`Placement::offset`]: crate::Placement::offset
    pub kept: Option<Duration>,
}

/// What an item's jobs take a share of, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The hypervisor node.
    pub host: String,
    /// The vault.
    pub vault: String,
    /// The storage that its disks share with those of other hosts.
    pub group: Option<String>,
}

/// When a start is allowed. All moments are whole seconds: `opens` is rounded up, the rest down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first moment.
    pub opens: Timestamp,
    /// The last moment at which a job may start; it may end later.
    pub closes: Timestamp,
    /// When the next recovery point has to be finished, so that the gap between points stays as
    /// the policy wants it. None: the policy does not say.
    pub deadline: Option<Timestamp>,
    /// When the window after this one opens. None: there is none.
    pub next_opens: Option<Timestamp>,
}

/// What a run is expected to take, from those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// From start to end.
    pub duration: Duration,
    /// Bytes to the vault.
    pub bytes: u64,
}

/// Who goes first where not all can. It is a head start of an hour, so it starves nobody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// After the others.
    Low,
    /// As most are.
    #[default]
    Normal,
    /// Before the others.
    High,
}

/// An item or limit that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// A window without a moment in it.
    #[error("the start window closes at {closes}, before it opens at {opens}")]
    WindowWithoutMoment {
        /// When it opens.
        opens: Timestamp,
        /// When it closes.
        closes: Timestamp,
    },
}
