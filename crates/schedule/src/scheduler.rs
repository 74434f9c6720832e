//! The scheduler's state, and what changes it apart from time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tresor_model::VmId;

use crate::decision::{Offered, Placement, WaitReason};
use crate::hash::{below, hash};
use crate::item::{Item, OfferError};
use crate::ledger::{Ledger, Planned};
use crate::pending::{Entry, Hold, Key, Pending, Phase, Run, Serves, Times};
use crate::resource::{Limit, Limits, Resource, Resources, Used};
use crate::slot::{Asked, Share, Slot, decide_slot};
use crate::time::{Minute, Second, ceil, duration, floor, seconds, timestamp};

/// Minutes that a plan looks at: of a longer run or window the rest is not planned.
const HORIZON: Minute = 2 * 1440;
/// Of the window's end so much (one of so many parts) is left free of slots of new items: it is
/// for those that are late.
const SPARE_PARTS: Second = 8;

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The window is served.
    Succeeded,
    /// It is not.
    Failed {
        /// When to try again, by the cause; None: not for this window.
        retry_at: Option<Timestamp>,
    },
}

/// What follows the end of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// The next window is to be offered.
    Done,
    /// It will be tried again.
    Retries,
    /// No job of this item was running.
    NotRunning,
}

/// Which items start when. See the crate's documentation.
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) now: Second,
    pub(crate) resources: Resources,
    pub(crate) entries: Vec<Option<Entry>>,
    numbers: BTreeMap<VmId, u32>,
    free: Vec<u32>,
    /// When which item is to be looked at.
    pub(crate) timers: BTreeSet<(Second, u32)>,
    /// Items that are due, in order.
    pub(crate) waiting: BTreeSet<Key>,
    /// The starts of all.
    pub(crate) fleet: Ledger,
    /// Something has changed that may let an item start.
    pub(crate) changed: bool,
    /// When the first gap ends that somebody waits for.
    pub(crate) gap_ends: Option<Second>,
    /// Plans before this minute are forgotten.
    pub(crate) forgotten: Minute,
}

impl Scheduler {
    /// Nothing to start yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            now: Second::MIN,
            resources: Resources::new(limits),
            entries: Vec::new(),
            numbers: BTreeMap::new(),
            free: Vec::new(),
            timers: BTreeSet::new(),
            waiting: BTreeSet::new(),
            fleet: Ledger::default(),
            changed: false,
            gap_ends: None,
            forgotten: Minute::MIN,
        }
    }

    /// Gives the next window of an item, new or known, in place of one that was given before, and
    /// places its start there. No other item's start is moved.
    ///
    /// # Errors
    /// When the window has no moment in it. Then nothing has changed.
    pub fn offer(&mut self, item: &Item, now: Timestamp) -> Result<Offered, OfferError> {
        let window = Times::try_from(&item.window)?;
        let now = self.pass_to(now);
        let number = self.number(item);
        let Some(entry) = self.entries[number as usize].as_mut() else {
            return Ok(Offered::Served);
        };
        entry.removed = false;
        if entry
            .pending
            .as_ref()
            .is_some_and(|pending| pending.caught_up || pending.retry)
        {
            return Ok(Offered::CatchingUp);
        }
        if entry.has_served(&window, item.last_point) {
            return Ok(Offered::Served);
        }
        self.withdraw(number);
        let uses = self.resources.uses(&item.place);
        let Some(entry) = self.entries[number as usize].as_mut() else {
            return Ok(Offered::Served);
        };
        entry.uses = uses;
        entry.takes = seconds(item.expected.duration);
        entry.bytes = item.expected.bytes;
        entry.priority = item.priority;
        let mut pending = Pending {
            window,
            slot: window.opens,
            offset: item.kept.map_or(0, seconds),
            held_until: item.not_before.map(ceil),
            caught_up: false,
            retry: false,
            phase: Phase::Planned,
            timer: 0,
        };
        pending.slot = (window.opens + pending.offset).min(window.closes);
        let mut offered = Offered::Closed;
        if now <= window.closes {
            let placed = self.place(number, &window, item.kept.map(seconds), now);
            pending.offset = placed.at - window.opens;
            pending.slot = placed.at;
            offered = Offered::Placed(Placement {
                start: timestamp(placed.at),
                offset: duration(pending.offset),
                crowded: placed.crowded,
            });
        }
        self.arm(number, pending);
        Ok(offered)
    }

    /// Nothing of an item starts any more. A job that runs is counted until it ends.
    pub fn remove(&mut self, id: VmId) {
        let Some(number) = self.numbers.get(&id).copied() else {
            return;
        };
        self.withdraw(number);
        if let Some(entry) = self.entries[number as usize].as_mut() {
            entry.removed = true;
        }
        self.forget_if_gone(number);
    }

    /// Takes a job over that was started before this state was made, for the window it serves.
    ///
    /// # Errors
    /// When the window has no moment in it. Then nothing has changed.
    pub fn adopt(&mut self, item: &Item, started: Timestamp) -> Result<(), OfferError> {
        let window = Times::try_from(&item.window)?;
        let started = floor(started);
        let of = Serves {
            window,
            offset: item.kept.map_or(0, seconds),
            caught_up: started > window.closes,
        };
        let uses = self.resources.uses(&item.place);
        let number = self.number(item);
        if let Some(entry) = self.entries[number as usize].as_mut()
            && entry.run.is_none()
        {
            entry.takes = seconds(item.expected.duration);
            entry.priority = item.priority;
            entry.run = Some(Run { uses, started, of });
            entry.served = entry.served.max(Some(started));
            for number in uses.iter() {
                let used = &mut self.resources.list_mut()[number];
                used.running += 1;
                used.started = used.started.max(Some(started));
            }
        }
        Ok(())
    }

    /// Notes that the job of an item has ended. Tick afterwards: others may wait for its place.
    pub fn finish(&mut self, id: VmId, outcome: Outcome, now: Timestamp) -> Finished {
        let now = self.pass_to(now);
        let number = self.numbers.get(&id).copied();
        let entry = number.and_then(|number| self.entries[number as usize].as_mut());
        let (Some(number), Some(entry)) = (number, entry) else {
            return Finished::NotRunning;
        };
        let Some(run) = entry.run.take() else {
            return Finished::NotRunning;
        };
        for used in run.uses.iter() {
            self.resources.list_mut()[used].running -= 1;
        }
        self.changed = true;
        let removed = entry.removed;
        self.forget_if_gone(number);
        match outcome {
            Outcome::Failed {
                retry_at: Some(retry_at),
            } if !removed => {
                self.retry(number, run.of, ceil(retry_at).max(now));
                Finished::Retries
            }
            Outcome::Failed { .. } | Outcome::Succeeded => Finished::Done,
        }
    }

    /// Holds an item back, by a back-off or a blackout; None lets it go. What it waits for stays.
    pub fn hold(&mut self, id: VmId, not_before: Option<Timestamp>) {
        let Some(number) = self.numbers.get(&id).copied() else {
            return;
        };
        if let Some(mut pending) = self.disarm(number) {
            pending.held_until = not_before.map(ceil);
            self.arm(number, pending);
        }
    }

    /// Sets what one resource bears.
    pub fn set_limit(&mut self, resource: Resource, limit: Limit) {
        self.resources.set_limit(resource, limit);
        self.changed = true;
    }

    /// How many jobs run on a resource, and how many may.
    #[must_use]
    pub fn load(&self, resource: &Resource) -> Option<(u32, u32)> {
        let used = self.resources.get(resource)?;
        Some((used.running, used.limit))
    }

    /// Whether a job of an item runs.
    #[must_use]
    pub fn runs(&self, id: VmId) -> bool {
        self.entry(id).is_some_and(|entry| entry.run.is_some())
    }

    /// How many items are due and wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Why an item does not start now, as of the last tick. None: nothing of it is to start.
    #[must_use]
    pub fn why(&self, id: VmId) -> Option<WaitReason> {
        let entry = self.entry(id)?;
        let pending = entry.pending.as_ref()?;
        if let Phase::Waiting {
            hold: Some(hold), ..
        } = pending.phase
        {
            return Some(self.reason(entry, hold));
        }
        let at = timestamp(pending.due());
        Some(if pending.held_until.map(timestamp) == Some(at) {
            WaitReason::HeldBack { until: at }
        } else {
            WaitReason::Slot { at }
        })
    }

    pub(crate) fn reason(&self, entry: &Entry, hold: Hold) -> WaitReason {
        let on = |number: usize| &self.resources.list()[number];
        match hold {
            Hold::Full(number) => WaitReason::Full {
                on: on(number).resource.clone(),
                running: on(number).running,
                limit: on(number).limit,
            },
            Hold::KeptForOlder(number) => WaitReason::KeptForOlder {
                on: on(number).resource.clone(),
            },
            Hold::StartGap(number, until) => WaitReason::StartGap {
                on: on(number).resource.clone(),
                until: timestamp(until),
            },
            Hold::StillRunning => WaitReason::StillRunning {
                since: timestamp(entry.run.map_or(self.now, |run| run.started)),
            },
        }
    }

    /// A clock that goes back is taken to stand still.
    pub(crate) fn pass_to(&mut self, now: Timestamp) -> Second {
        self.now = self.now.max(floor(now));
        self.now
    }

    fn entry(&self, id: VmId) -> Option<&Entry> {
        let number = self.numbers.get(&id)?;
        self.entries.get(*number as usize)?.as_ref()
    }

    /// The number of an item, known or new.
    fn number(&mut self, item: &Item) -> u32 {
        let id = item.id;
        if let Some(number) = self.numbers.get(&id) {
            return *number;
        }
        let uses = self.resources.uses(&item.place);
        let number = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        self.numbers.insert(id, number);
        self.entries[number as usize] = Some(Entry {
            id,
            hash: hash(id),
            uses,
            takes: 0,
            bytes: 0,
            priority: crate::Priority::Normal,
            run: None,
            pending: None,
            planned: None,
            served: None,
            removed: false,
        });
        number
    }

    fn forget_if_gone(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        if let Some(gone) = entry.take_if(|entry| entry.removed && entry.run.is_none()) {
            self.numbers.remove(&gone.id);
            self.free.push(number);
        }
    }

    /// Tries a failed job again: in its window, or in a newer one that is open by then.
    fn retry(&mut self, number: u32, of: Serves, at: Second) {
        let newer = self.disarm(number);
        if let Some(mut newer) = newer {
            if newer.window.opens <= at {
                newer.held_until = newer.held_until.max(Some(at));
                self.arm(number, newer);
                return;
            }
            self.unplan(number);
        }
        let retry = Pending {
            window: of.window,
            slot: at,
            offset: of.offset,
            held_until: Some(at),
            caught_up: of.caught_up,
            retry: true,
            phase: Phase::Planned,
            timer: 0,
        };
        self.arm(number, retry);
    }

    /// Takes back what was to start of an item, and its place in the plan.
    fn withdraw(&mut self, number: u32) {
        self.disarm(number);
        self.unplan(number);
    }

    fn unplan(&mut self, number: u32) {
        let Some(entry) = self.entries[number as usize].as_mut() else {
            return;
        };
        if let Some(planned) = entry.planned.take() {
            for used in entry.uses.iter() {
                self.resources.list_mut()[used].ledger.remove(&planned);
            }
            self.fleet.remove(&one_minute(&planned));
        }
    }

    /// Lets an item's start come: among the timers, by its phase.
    pub(crate) fn arm(&mut self, number: u32, mut pending: Pending) {
        let due = pending.due();
        pending.phase = Phase::Planned;
        pending.timer = pending.closes().map_or(due, |closes| due.min(closes + 1));
        self.timers.insert((pending.timer, number));
        if let Some(entry) = self.entries[number as usize].as_mut() {
            entry.pending = Some(pending);
        }
    }

    pub(crate) fn disarm(&mut self, number: u32) -> Option<Pending> {
        let pending = self.entries[number as usize].as_mut()?.pending.take()?;
        self.timers.remove(&(pending.timer, number));
        if let Phase::Waiting { key, .. } = &pending.phase {
            self.waiting.remove(key);
        }
        Some(pending)
    }
}

/// A start as it is placed.
struct Placed {
    at: Second,
    crowded: bool,
}

impl Scheduler {
    /// Places an item's start in what is left of its window, and plans it.
    fn place(&mut self, number: u32, window: &Times, kept: Option<Second>, now: Second) -> Placed {
        let Some(entry) = self.entries[number as usize].as_ref() else {
            let (at, crowded) = (window.opens, true);
            return Placed { at, crowded };
        };
        let wish = wish(window, kept, entry, now);
        let length = (entry.takes + 59).div_euclid(60).clamp(1, HORIZON);
        let asked = Asked {
            first: wish.first.div_euclid(60),
            last: wish.last.div_euclid(60),
            preferred: wish.start.div_euclid(60),
            kept: wish.kept,
            length,
            shares: self.resources.of(entry.uses).map(share).collect(),
            fleet: &self.fleet,
        };
        let Slot { minute, crowded } = decide_slot(&asked);
        let at = minute * 60 + wish.start.rem_euclid(60);
        let planned = Planned {
            start: minute,
            length,
            bytes: entry.bytes,
        };
        for used in entry.uses.iter() {
            self.resources.list_mut()[used].ledger.add(&planned);
        }
        self.fleet.add(&one_minute(&planned));
        if let Some(entry) = self.entries[number as usize].as_mut() {
            entry.planned = Some(planned);
        }
        let at = at.clamp(wish.first, wish.last);
        Placed { at, crowded }
    }
}

/// When an item would start if it were alone.
struct Wish {
    first: Second,
    last: Second,
    start: Second,
    kept: bool,
}

/// The slot it had; a new item's is where the hash says, over the window without its last part.
/// Where the kept one is over already, what is left of the window is shared out anew: all that are
/// late would start at once otherwise.
fn wish(window: &Times, kept: Option<Second>, entry: &Entry, now: Second) -> Wish {
    let first = window.opens.max(now);
    let in_time = window.deadline.map(|deadline| deadline - entry.takes);
    let last = in_time.map_or(window.closes, |in_time| in_time.min(window.closes));
    // Late whatever is done: at once, unless there is no room.
    let late = last < first;
    let last = if late { window.closes } else { last };
    let last = last.min(first + HORIZON * 60);
    let kept = kept.map(|offset| window.opens + offset);
    if let Some(start) = kept.filter(|start| !late && (first..=last).contains(start)) {
        return Wish {
            first,
            last,
            start,
            kept: true,
        };
    }
    let room = last - first - (last - first) / SPARE_PARTS;
    let start = first + if late { 0 } else { below(entry.hash, room + 1) };
    Wish {
        first,
        last,
        start,
        kept: false,
    }
}

/// What a plan may put on a resource. One that takes no jobs now may take them by then.
fn share(used: &Used) -> Share<'_> {
    let (limit, gap) = (used.limit, u32::try_from(used.gap).unwrap_or(60));
    Share {
        ledger: &used.ledger,
        running: if limit == 0 { u32::MAX } else { limit },
        starts: 60_u32.checked_div(gap).unwrap_or(u32::MAX),
    }
}

/// In the plan of the whole fleet only the starts count.
fn one_minute(planned: &Planned) -> Planned {
    Planned {
        length: 1,
        ..*planned
    }
}
