//! What time changes.

use jiff::Timestamp;

use crate::decision::{Decisions, MissReason, Missed, Start, Wait};
use crate::order::{AfterClose, Closed, decide_after_close, rank};
use crate::pending::{Hold, Key, Phase, Run, Serves};
use crate::resource::{Used, Uses};
use crate::scheduler::Scheduler;
use crate::time::{Second, duration, timestamp};

/// After so many seconds an item that waits keeps what is free of what it needs.
const PATIENCE: Second = 600;
/// Of a resource's places so much (one of so many parts) is kept at most, but at least one: in a
/// backlog every full host has somebody who keeps a place in the storage group, and all together
/// would leave half of it idle.
const KEPT_PARTS: u32 = 8;

impl Scheduler {
    /// Decides what happens now. To be called when [`Decisions::wake_at`] has come, and whenever
    /// something else has changed. What is decided to start counts as running from here on.
    pub fn tick(&mut self, now: Timestamp) -> Decisions {
        let now = self.pass_to(now);
        self.forget_the_past();
        let mut decisions = Decisions::default();
        let mut due = Vec::new();
        while let Some(&(at, number)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            if self.turn(number, &mut decisions) {
                due.push(number);
            }
        }
        if self.changed || self.gap_ends.is_some_and(|ends| ends <= now) {
            self.start_what_fits(&mut decisions);
        }
        self.tell_waits(&due, &mut decisions);
        let timer = self.timers.first().map(|(at, _)| *at);
        let wake_at = timer.into_iter().chain(self.gap_ends).min();
        decisions.wake_at = wake_at.map(timestamp);
        decisions
    }

    /// Brings one item on: to the waiting ones, past the end of its window, or to a new rank.
    /// Says whether it has come due.
    fn turn(&mut self, number: u32, decisions: &mut Decisions) -> bool {
        let now = self.now;
        let Some(entry) = self.entries[number as usize].as_ref() else {
            return false;
        };
        let Some(pending) = entry.pending.as_ref() else {
            return false;
        };
        let comes_due = matches!(pending.phase, Phase::Planned);
        if pending.closes().is_none_or(|closes| now <= closes) {
            self.wait(number);
            return comes_due;
        }
        let reason = if let Some(run) = entry.run {
            let since = timestamp(run.started);
            MissReason::StillRunning { since }
        } else {
            match &pending.phase {
                Phase::Planned if pending.due() > pending.window.closes => MissReason::HeldBack {
                    until: timestamp(pending.due()),
                },
                Phase::Waiting {
                    hold: Some(hold), ..
                } => MissReason::Waited(self.reason(entry, *hold)),
                Phase::Planned | Phase::Waiting { .. } => MissReason::NotAsked,
            }
        };
        let then = if entry.run.is_some() {
            // The job that runs makes a point; if it fails, it is tried again by itself.
            AfterClose::NextWindow
        } else {
            decide_after_close(&Closed {
                from: pending.held_until.map_or(now, |held| held.max(now)),
                deadline: pending.window.deadline,
                next_opens: pending.window.next_opens,
                offset: pending.offset,
                takes: entry.takes,
            })
        };
        decisions.missed.push(Missed {
            item: entry.id,
            window: timestamp(pending.window.opens),
            reason,
            then,
        });
        self.close(number, then);
        false
    }

    /// Ends what a closed window left, or has it caught up.
    fn close(&mut self, number: u32, then: AfterClose) {
        let Some(mut pending) = self.disarm(number) else {
            return;
        };
        if then == AfterClose::CatchUp {
            pending.caught_up = true;
            let held = pending.held_until.is_some_and(|held| held > self.now);
            self.arm(number, pending);
            if !held {
                self.wait(number);
            }
        }
    }

    /// Puts an item among the waiting ones, at its rank of now.
    fn wait(&mut self, number: u32) {
        let now = self.now;
        let Some(entry) = self.entries[number as usize].as_mut() else {
            return;
        };
        let Some(pending) = entry.pending.as_mut() else {
            return;
        };
        self.timers.remove(&(pending.timer, number));
        let (mut since, mut hold) = (now, None);
        if let Phase::Waiting {
            since: before,
            key: old,
            hold: still,
        } = &pending.phase
        {
            self.waiting.remove(old);
            (since, hold) = (*before, *still);
        }
        let rank = rank(&pending.promises(entry.takes, since), entry.priority, now);
        let key = (rank.by, pending.due(), entry.hash, number);
        pending.phase = Phase::Waiting { since, key, hold };
        let closes = pending.closes();
        let next = closes.into_iter().chain(rank.until).min();
        // Nothing that time alone changes: never looked at again.
        pending.timer = next.map_or(Second::MAX, |next| next + 1);
        if next.is_some() {
            self.timers.insert((pending.timer, number));
        }
        self.waiting.insert(key);
        self.changed = true;
    }

    /// Goes over the waiting items in order, and starts what the limits and gaps allow.
    fn start_what_fits(&mut self, decisions: &mut Decisions) {
        let now = self.now;
        self.changed = false;
        let mut room = Room::new(self.resources.list().len());
        let mut started: Vec<Key> = Vec::new();
        for key in &self.waiting {
            let Some(entry) = self.entries[key.3 as usize].as_mut() else {
                continue;
            };
            let Some(pending) = entry.pending.as_mut() else {
                continue;
            };
            let Phase::Waiting { since, hold, .. } = &mut pending.phase else {
                continue;
            };
            let used = self.resources.list_mut();
            *hold = match entry.run {
                Some(_) => Some(Hold::StillRunning),
                None => room.decide(used, entry.uses, now).err(),
            };
            match hold {
                None => {
                    take(used, entry.uses, now);
                    started.push(*key);
                }
                Some(hold) => room.note(used, entry.uses, *hold, now - *since >= PATIENCE),
            }
        }
        self.gap_ends = room.gap_ends;
        for key in started {
            let start = self.begin(key);
            decisions.starts.extend(start);
        }
    }

    /// Makes a waiting item's job a running one.
    fn begin(&mut self, key: Key) -> Option<Start> {
        let now = self.now;
        let pending = self.disarm(key.3)?;
        let entry = self.entries[key.3 as usize].as_mut()?;
        entry.run = Some(Run {
            uses: entry.uses,
            started: now,
            of: Serves {
                window: pending.window,
                offset: pending.offset,
                caught_up: pending.caught_up,
            },
        });
        entry.served = Some(now);
        let waited = match pending.phase {
            Phase::Waiting { since, .. } => now - since.min(pending.due()),
            Phase::Planned => 0,
        };
        Some(Start {
            item: entry.id,
            window: timestamp(pending.window.opens),
            waited: duration(waited),
            why: pending.start_reason(),
        })
    }

    fn tell_waits(&self, due: &[u32], decisions: &mut Decisions) {
        for number in due {
            let Some(entry) = self.entries[*number as usize].as_ref() else {
                continue;
            };
            let phase = entry.pending.as_ref().map(|pending| &pending.phase);
            if let Some(Phase::Waiting {
                hold: Some(hold), ..
            }) = phase
            {
                decisions.waits.push(Wait {
                    item: entry.id,
                    reason: self.reason(entry, *hold),
                });
            }
        }
    }

    /// Once an hour is often enough.
    fn forget_the_past(&mut self) {
        let minute = self.now.div_euclid(60);
        if minute < self.forgotten.saturating_add(60) {
            return;
        }
        self.forgotten = minute;
        self.fleet.forget_before(minute);
        for used in self.resources.list_mut() {
            used.ledger.forget_before(minute);
        }
    }
}

fn take(used: &mut [Used], uses: Uses, now: Second) {
    for number in uses.iter() {
        used[number].running += 1;
        used[number].started = Some(now);
    }
}

/// What is left while the waiting items are gone over: the limits, less what older ones keep.
///
/// Of those that wait for one resource and have lost patience, the first keeps a place on each
/// other one it needs (if not too many are kept), and a gap that ends when its own does. So the first of all that wait starts
/// as soon as each thing it needs has been free once, and the rest go past it where that costs it
/// nothing (EASY backfilling; Lifka 1995, "The ANL/IBM SP Scheduling System").
struct Room {
    /// Places that are kept.
    kept: Vec<u32>,
    /// No gap that reaches beyond.
    gap_kept: Vec<Second>,
    /// Somebody keeps places while it waits for this.
    keeper: Vec<bool>,
    gap_ends: Option<Second>,
}

impl Room {
    fn new(resources: usize) -> Self {
        Self {
            kept: vec![0; resources],
            gap_kept: vec![Second::MAX; resources],
            keeper: vec![false; resources],
            gap_ends: None,
        }
    }

    /// Whether there is room for one that uses these.
    fn decide(&self, used: &[Used], uses: Uses, now: Second) -> Result<(), Hold> {
        let mut hold = Ok(());
        for number in uses.iter() {
            let here = &used[number];
            if here.running >= here.limit {
                return Err(Hold::Full(number));
            }
            if hold.is_err() {
                continue;
            }
            if here.gap_ends() > now {
                let ends = uses.iter().map(|number| used[number].gap_ends()).max();
                hold = Err(Hold::StartGap(number, ends.unwrap_or(now)));
            } else if here.running + self.kept[number] >= here.limit
                || now + here.gap > self.gap_kept[number]
            {
                hold = Err(Hold::KeptForOlder(number));
            }
        }
        hold
    }

    /// Notes what one waits for, and keeps places for it if it has lost patience.
    fn note(&mut self, used: &[Used], uses: Uses, hold: Hold, impatient: bool) {
        let (on, until) = match hold {
            Hold::Full(number) => (number, Second::MAX),
            Hold::StartGap(number, until) => {
                let earliest = self.gap_ends.map_or(until, |ends| ends.min(until));
                self.gap_ends = Some(earliest);
                (number, until)
            }
            Hold::KeptForOlder(_) | Hold::StillRunning => return,
        };
        // What is away comes back nobody knows when.
        if !impatient || used[on].limit == 0 || std::mem::replace(&mut self.keeper[on], true) {
            return;
        }
        for number in uses.iter() {
            let most = (used[number].limit / KEPT_PARTS).max(1);
            if used[number].running < used[number].limit && self.kept[number] < most {
                self.kept[number] += 1;
            }
            self.gap_kept[number] = self.gap_kept[number].min(until);
        }
    }
}
