//! An item as the scheduler keeps it.

use jiff::Timestamp;
use tresor_model::VmId;

use crate::decision::StartReason;
use crate::item::{OfferError, Priority, Window};
use crate::ledger::Planned;
use crate::order::Promises;
use crate::resource::Uses;
use crate::time::{Second, ceil, floor};

/// A window in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub opens: Second,
    pub closes: Second,
    pub deadline: Option<Second>,
    pub next_opens: Option<Second>,
}

impl TryFrom<&Window> for Times {
    type Error = OfferError;

    fn try_from(window: &Window) -> Result<Self, OfferError> {
        let (opens, closes) = (ceil(window.opens), floor(window.closes));
        if closes < opens {
            return Err(OfferError::WindowWithoutMoment {
                opens: window.opens,
                closes: window.closes,
            });
        }
        Ok(Self {
            opens,
            closes,
            deadline: window.deadline.map(floor),
            next_opens: window.next_opens.map(ceil),
        })
    }
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub id: VmId,
    pub hash: u64,
    pub uses: Uses,
    /// Seconds its next run is expected to take.
    pub takes: Second,
    pub bytes: u64,
    pub priority: Priority,
    pub run: Option<Run>,
    pub pending: Option<Pending>,
    /// What of it stands in the ledgers of `uses`.
    pub planned: Option<Planned>,
    /// A window that opens no later is served.
    pub served: Option<Second>,
    /// It is protected no longer; it goes when its job has ended.
    pub removed: bool,
}

/// A job that runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// What it took, whatever the item uses by now.
    pub uses: Uses,
    pub started: Second,
    /// What it is tried again for.
    pub of: Serves,
}

/// What a job serves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Serves {
    pub window: Times,
    pub offset: Second,
    pub caught_up: bool,
}

/// A start that is to come.
#[derive(Debug)]
pub(crate) struct Pending {
    pub window: Times,
    /// When it is to start if nothing holds it back.
    pub slot: Second,
    /// How long after the window's opening it starts usually.
    pub offset: Second,
    /// Nothing before.
    pub held_until: Option<Second>,
    /// The window has closed.
    pub caught_up: bool,
    /// A job for it failed.
    pub retry: bool,
    pub phase: Phase,
    /// When it is looked at again; it stands among the timers.
    pub timer: Second,
}

#[derive(Debug)]
pub(crate) enum Phase {
    /// Its time has not come.
    Planned,
    /// Since then, there in the order, for that.
    Waiting {
        since: Second,
        key: Key,
        hold: Option<Hold>,
    },
}

/// The place in the order: rank, slot, hash, number.
pub(crate) type Key = (Second, Second, u64, u32);

/// Why an item does not start, by numbers of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    Full(usize),
    KeptForOlder(usize),
    StartGap(usize, Second),
    StillRunning,
}

impl Pending {
    /// When it is due.
    pub(crate) fn due(&self) -> Second {
        self.held_until
            .map_or(self.slot, |held| held.max(self.slot))
    }

    /// The last moment of its window, while that counts.
    pub(crate) fn closes(&self) -> Option<Second> {
        (!self.caught_up).then_some(self.window.closes)
    }

    pub(crate) fn promises(&self, takes: Second, since: Second) -> Promises {
        Promises {
            closes: self.closes(),
            deadline: self.window.deadline,
            takes,
            due: if self.caught_up {
                self.window.closes
            } else {
                self.due()
            },
            since,
        }
    }

    pub(crate) fn start_reason(&self) -> StartReason {
        if self.retry {
            StartReason::Retry
        } else if self.caught_up {
            StartReason::CatchUp
        } else {
            StartReason::Window
        }
    }
}

impl Entry {
    /// Whether a job started since the window opened, by what the caller knows of it, too.
    pub(crate) fn has_served(&self, window: &Times, last_point: Option<Timestamp>) -> bool {
        let last = self.served.max(last_point.map(floor));
        last.is_some_and(|last| last >= window.opens)
    }
}
