//! What the scheduler says, for programs and for people.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use tresor_model::VmId;

use crate::order::AfterClose;
use crate::resource::Resource;

/// Where an item's start was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The moment.
    pub start: Timestamp,
    /// How long after the window's opening that is: to be kept, and given back with the next
    /// window.
    pub offset: Duration,
    /// The window has no room at any minute as things are expected: the start will wait.
    pub crowded: bool,
}

/// What became of an offered window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// A start is placed in it.
    Placed(Placement),
    /// It has closed: the next tick says what becomes of it.
    Closed,
    /// A job started since it opened, so it is served. The window after that start is wanted.
    Served,
    /// An earlier window is still to be caught up; this serves both.
    CatchingUp,
}

/// What a tick decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decisions {
    /// Jobs to start now, in this order.
    pub starts: Vec<Start>,
    /// Items that came due and have to wait. Said once; how it stands later is asked for.
    pub waits: Vec<Wait>,
    /// Windows that closed without a start.
    pub missed: Vec<Missed>,
    /// When to tick next if nothing else happens before.
    pub wake_at: Option<Timestamp>,
}

/// A job to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Whose.
    pub item: VmId,
    /// The opening of the window it is for.
    pub window: Timestamp,
    /// How long it waited since it was due.
    pub waited: Duration,
    /// Why now.
    pub why: StartReason,
}

/// Why a job starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartReason {
    /// Its window is open, and its slot has come.
    Window,
    /// The job before failed.
    Retry,
    /// It missed its window.
    CatchUp,
}

/// An item that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Which.
    pub item: VmId,
    /// For what.
    pub reason: WaitReason,
}

/// Why an item does not start now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitReason {
    /// Its slot has not come.
    Slot {
        /// It comes then.
        at: Timestamp,
    },
    /// A back-off or a blackout is on.
    HeldBack {
        /// Until then.
        until: Timestamp,
    },
    /// As many jobs run as may.
    Full {
        /// On what.
        on: Resource,
        /// So many.
        running: u32,
        /// Of so many.
        limit: u32,
    },
    /// What is free is kept for an item that has waited longer.
    KeptForOlder {
        /// On what.
        on: Resource,
    },
    /// Another job has just started.
    StartGap {
        /// On what.
        on: Resource,
        /// The next may start then.
        until: Timestamp,
    },
    /// Its own last job still runs.
    StillRunning {
        /// Since then.
        since: Timestamp,
    },
}

/// A window that closed without a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// Whose.
    pub item: VmId,
    /// When the window opened.
    pub window: Timestamp,
    /// Why.
    pub reason: MissReason,
    /// And what now. After [`AfterClose::NextWindow`] the next window is to be offered.
    pub then: AfterClose,
}

/// Why a window was missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissReason {
    /// Nobody ticked between the slot and the end of the window.
    NotAsked,
    /// A back-off or a blackout lasted longer.
    HeldBack {
        /// Until then.
        until: Timestamp,
    },
    /// It waited until the end.
    Waited(WaitReason),
    /// Its own last job ran until the end.
    StillRunning {
        /// Since then.
        since: Timestamp,
    },
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot { at } => write!(f, "starts at {at}"),
            Self::HeldBack { until } => write!(f, "held back until {until}"),
            Self::Full { on, limit: 0, .. } => write!(f, "waits for {on}, which takes no jobs now"),
            Self::Full { on, running, limit } => {
                write!(f, "waits for {on}, {running} of {limit} run")
            }
            Self::KeptForOlder { on } => {
                write!(f, "waits for {on}, kept for one that has waited longer")
            }
            Self::StartGap { on, until } => {
                write!(
                    f,
                    "waits for {on}, where another has just started, until {until}"
                )
            }
            Self::StillRunning { since } => write!(f, "its last job still runs, since {since}"),
        }
    }
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("the service did not run when it was due"),
            Self::HeldBack { until } => write!(f, "it was held back until {until}"),
            Self::Waited(reason) => write!(f, "no room until the window closed: {reason}"),
            Self::StillRunning { since } => write!(f, "its last job still runs, since {since}"),
        }
    }
}

impl fmt::Display for AfterClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NextWindow => "starts in the next window",
            Self::CatchUp => "is caught up as soon as there is room",
        })
    }
}

impl fmt::Display for StartReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Window => "scheduled",
            Self::Retry => "tried again",
            Self::CatchUp => "caught up",
        })
    }
}
