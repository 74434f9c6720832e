//! The fleet under the scheduler.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use tresor_model::VmId;

use super::Watch;
use super::figures::Figures;
use super::fleet::{Fleet, LIMITS, Options, TRIES};
use super::ledgers::{Counts, Lateness};
use crate::time::{Second, floor, seconds, timestamp};
use crate::{
    AfterClose, Decisions, Expected, Finished, Item, Limit, MissReason, Missed, Offered, Outcome,
    Priority, Resource, ResourceKind, Scheduler, Start, StartReason, Window,
};

/// Runs the fleet.
pub fn run(options: Options, watch: &mut dyn Watch) -> Figures {
    let fleet = Fleet::new(options);
    let mut world = World::new(&fleet, watch);
    world.run();
    world.figures()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ends(usize),
    Away(u32),
    Back(u32),
    Down,
    Up,
}

/// A job that runs, and what will come of it.
#[derive(Debug, Clone, Copy)]
struct Running {
    started: Second,
    window: usize,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Succeeds,
    Fails,
    HostGoes,
}

/// What the service stores of an item, and what happens to it.
#[derive(Debug)]
struct State {
    kept: Option<Duration>,
    /// Seconds its runs take, of late.
    estimate: f64,
    /// The data of its last point is of then.
    taken: Option<Second>,
    /// Windows that open no later are over with.
    after: Second,
    run: Option<Running>,
    /// Tries that failed for a window.
    failures: (usize, u32),
    /// Not served since.
    due: Option<Second>,
    /// Where in its window it started last.
    started: Option<Second>,
    caught_up: u32,
}

struct World<'a> {
    fleet: &'a Fleet,
    scheduler: Scheduler,
    watch: &'a mut dyn Watch,
    up: bool,
    numbers: BTreeMap<VmId, usize>,
    states: Vec<State>,
    events: BTreeSet<(Second, Event)>,
    wake: Option<Second>,
    counts: Counts,
    lateness: Lateness,
    figures: Figures,
    waits: [Vec<i64>; 2],
    moves: Vec<i64>,
    /// Slots that moved, and all.
    slots: [u64; 2],
    starved: BTreeSet<usize>,
}

impl<'a> World<'a> {
    fn new(fleet: &'a Fleet, watch: &'a mut dyn Watch) -> Self {
        let state = |_| State {
            kept: None,
            estimate: 300.0,
            taken: None,
            after: fleet.begin,
            run: None,
            failures: (0, 0),
            due: None,
            started: None,
            caught_up: 0,
        };
        let mut events = BTreeSet::from([
            (fleet.downtime.from, Event::Down),
            (fleet.downtime.until, Event::Up),
        ]);
        for (host, outages) in (0..).zip(&fleet.outages) {
            for away in outages {
                events.insert((away.from, Event::Away(host)));
                events.insert((away.until, Event::Back(host)));
            }
        }
        let members = fleet.members.iter();
        Self {
            fleet,
            scheduler: Scheduler::new(LIMITS),
            watch,
            up: true,
            numbers: members
                .zip(0..)
                .map(|(member, number)| (member.id, number))
                .collect(),
            states: (0..fleet.members.len()).map(state).collect(),
            events,
            wake: None,
            counts: Counts::new(fleet),
            lateness: Lateness::default(),
            figures: Figures::default(),
            waits: [Vec::new(), Vec::new()],
            moves: Vec::new(),
            slots: [0, 0],
            starved: BTreeSet::new(),
        }
    }

    fn run(&mut self) {
        self.offer_all(self.fleet.begin);
        self.tick(self.fleet.begin);
        loop {
            let event = self.events.first().map(|(at, _)| *at);
            let wake = self.wake.filter(|_| self.up);
            let Some(now) = event.into_iter().chain(wake).min() else {
                break;
            };
            if now >= self.fleet.end {
                break;
            }
            while let Some((at, event)) = self.events.pop_first() {
                if at > now {
                    self.events.insert((at, event));
                    break;
                }
                self.happens(event, now);
            }
            if self.up {
                self.tick(now);
            }
        }
    }

    fn happens(&mut self, event: Event, now: Second) {
        match event {
            Event::Ends(item) => self.ends(item, now),
            Event::Away(host) => self.set_host(host, 0),
            Event::Back(host) => self.set_host(host, LIMITS.host.running),
            Event::Down => self.up = false,
            Event::Up => {
                self.up = true;
                self.restart(now);
            }
        }
    }

    fn set_host(&mut self, host: u32, running: u32) {
        let name = format!("host{host:04}");
        let limit = Limit {
            running,
            ..LIMITS.host
        };
        let host = Resource::new(ResourceKind::Host, &name);
        self.scheduler.set_limit(host, limit);
    }

    /// A new process, with what was stored.
    fn restart(&mut self, now: Second) {
        self.scheduler = Scheduler::new(LIMITS);
        for (host, outages) in (0..).zip(&self.fleet.outages) {
            if outages
                .iter()
                .any(|away| (away.from..away.until).contains(&now))
            {
                self.set_host(host, 0);
            }
        }
        for state in &mut self.states {
            state.after = state.taken.unwrap_or(self.fleet.begin);
        }
        self.offer_all(now);
    }

    fn offer_all(&mut self, now: Second) {
        for item in 0..self.states.len() {
            match self.states[item].run {
                Some(run) => {
                    let adopted = self.item(item, run.window, now);
                    let adopted = self.scheduler.adopt(&adopted, timestamp(run.started));
                    assert!(adopted.is_ok(), "{adopted:?}");
                }
                None => self.offer(item, now),
            }
        }
    }

    /// Offers the first window that is not over with.
    fn offer(&mut self, number: usize, now: Second) {
        let window = self.fleet.window_after(number, self.states[number].after);
        let item = self.item(number, window, now);
        let offered = self.watch.offer(&mut self.scheduler, &item, timestamp(now));
        match offered {
            Ok(Offered::Placed(placed)) => {
                let state = &mut self.states[number];
                let moved = state.kept.is_some_and(|kept| kept != placed.offset);
                self.slots[0] += u64::from(moved);
                self.slots[1] += u64::from(state.kept.is_some());
                state.kept = Some(placed.offset);
            }
            Ok(Offered::Closed | Offered::CatchingUp) => {}
            Ok(Offered::Served) | Err(_) => panic!("window {window} of {number}: {offered:?}"),
        }
    }

    fn item(&self, number: usize, window: usize, now: Second) -> Item {
        let (policy, state) = (self.fleet.policy(number), &self.states[number]);
        let (opens, closes) = policy.windows[window];
        let next = self.fleet.window_after(number, now.max(opens));
        let deadline = state.taken.map(|taken| timestamp(taken + policy.rpo));
        Item {
            id: self.fleet.members[number].id,
            place: self.fleet.place(number),
            window: Window {
                opens: timestamp(opens),
                closes: timestamp(closes),
                deadline,
                next_opens: policy.windows.get(next).map(|(opens, _)| timestamp(*opens)),
            },
            expected: Expected {
                duration: Duration::from_secs_f64(state.estimate),
                bytes: 1 << 30,
            },
            last_point: state.taken.map(timestamp),
            priority: Priority::Normal,
            not_before: None,
            kept: state.kept,
        }
    }

    fn tick(&mut self, now: Second) {
        let mut at = now;
        loop {
            let decisions = self.watch.tick(&mut self.scheduler, timestamp(at));
            let again = self.apply(&decisions, now);
            self.wake = decisions.wake_at.map(|wake| floor(wake).max(now + 1));
            if !again {
                break;
            }
            at = now;
        }
    }

    /// Does what was decided. Says whether windows were offered, which may be due by now.
    fn apply(&mut self, decisions: &Decisions, now: Second) -> bool {
        for wait in &decisions.waits {
            if let Some(item) = self.numbers.get(&wait.item) {
                self.states[*item].due.get_or_insert(now);
            }
        }
        for missed in &decisions.missed {
            self.miss(missed, now);
        }
        for start in &decisions.starts {
            self.begin(start, now);
        }
        !decisions.missed.is_empty()
    }

    fn miss(&mut self, missed: &Missed, now: Second) {
        let reason = match missed.reason {
            MissReason::NotAsked => "service away",
            MissReason::HeldBack { .. } => "held back",
            MissReason::Waited(_) => "no room",
            MissReason::StillRunning { .. } => "still running",
        };
        *self.figures.missed.entry(reason).or_default() += 1;
        let item = self.numbers[&missed.item];
        let state = &mut self.states[item];
        state.due.get_or_insert(now);
        if missed.then == AfterClose::NextWindow {
            state.after = state.after.max(floor(missed.window));
            self.offer(item, now);
        }
    }

    fn begin(&mut self, start: &Start, now: Second) {
        let item = self.numbers[&start.item];
        let opens = floor(start.window);
        let window = self.fleet.window_after(item, opens - 1);
        self.count_start(item, start, now);
        let state = &mut self.states[item];
        assert!(state.run.is_none(), "{item} runs already");
        if state.failures.0 != window {
            state.failures = (window, 0);
        }
        let fate = self.fleet.fate(item, window, state.failures.1);
        let (mut ends, mut end) = (now + fate.takes, End::Succeeds);
        if fate.fails {
            end = End::Fails;
        }
        if let Some(away) = self.fleet.outage(item, now).filter(|away| away.from < ends) {
            (ends, end) = (away.from.max(now), End::HostGoes);
        }
        state.run = Some(Running {
            started: now,
            window,
            end,
        });
        state.after = now;
        self.events.insert((ends.max(now + 1), Event::Ends(item)));
    }

    fn count_start(&mut self, item: usize, start: &Start, now: Second) {
        self.counts.start(self.fleet.uses(item), now);
        self.figures.starts += 1;
        let state = &mut self.states[item];
        let waited = seconds(start.waited);
        let away = self.fleet.away(item, state.due.unwrap_or(now), now);
        if now - state.due.take().unwrap_or(now) - away > 36 * 3600 {
            self.starved.insert(item);
        }
        match start.why {
            StartReason::Window => {
                self.waits[0].push(waited);
                let at = now - floor(start.window);
                let before = state.started.replace(at);
                if let Some(before) = before.filter(|_| self.fleet.members[item].policy == 0) {
                    self.moves.push((at - before).abs() / 60);
                }
            }
            StartReason::Retry => self.figures.retries += 1,
            StartReason::CatchUp => {
                self.figures.caught_up += 1;
                let down = self.fleet.downtime;
                let overlap = now.min(down.until) - (now - waited).max(down.from);
                self.waits[1].push(waited - overlap.max(0));
                if (down.from..down.until).contains(&floor(start.window)) {
                    state.caught_up += 1;
                    self.figures.caught_up_twice += u64::from(state.caught_up > 1);
                }
            }
        }
    }

    fn ends(&mut self, item: usize, now: Second) {
        let state = &mut self.states[item];
        let Some(run) = state.run.take() else {
            return;
        };
        self.counts.end(self.fleet.uses(item));
        let outcome = match run.end {
            End::Succeeds => {
                if let Some(before) = state.taken {
                    self.lateness.point(self.fleet, item, before, Some(now));
                }
                state.taken = Some(run.started);
                let took = (now - run.started) as f64;
                state.estimate = 0.7 * state.estimate + 0.3 * took;
                Outcome::Succeeded
            }
            End::Fails => {
                self.figures.failed += 1;
                state.failures.1 += 1;
                let retry_at = now + Fleet::back_off(state.failures.1);
                let again = state.failures.1 < TRIES;
                failed(again.then_some(retry_at))
            }
            End::HostGoes => {
                self.figures.failed += 1;
                failed(Some(now + 300))
            }
        };
        if self.up {
            let id = self.fleet.members[item].id;
            match self.scheduler.finish(id, outcome, timestamp(now)) {
                Finished::Done => self.offer(item, now),
                Finished::Retries => {}
                Finished::NotRunning => panic!("{item} was not running"),
            }
        }
    }

    fn figures(mut self) -> Figures {
        for (item, state) in self.states.iter().enumerate() {
            if let Some(taken) = state.taken
                && taken + self.fleet.policy(item).rpo < self.fleet.end
            {
                self.lateness.point(self.fleet, item, taken, None);
            }
            let waited = self.fleet.end - state.due.unwrap_or(self.fleet.end);
            let away = self
                .fleet
                .away(item, state.due.unwrap_or(self.fleet.end), self.fleet.end);
            if waited - away > 36 * 3600 {
                self.starved.insert(item);
            }
        }
        let mut figures = self.figures;
        self.counts.tell(self.fleet, &mut figures);
        self.lateness.tell(self.fleet, &mut figures);
        let [waits, catch_ups] = self.waits;
        figures.waits = super::Spread::of(waits);
        figures.catch_up_waits = super::Spread::of(catch_ups);
        figures.moves = super::Spread::of(self.moves);
        figures.slots_moved = self.slots[0] * 1_000_000 / self.slots[1].max(1);
        figures.starved = self.starved.len() as u64;
        figures
    }
}

fn failed(retry_at: Option<Second>) -> Outcome {
    let retry_at: Option<Timestamp> = retry_at.map(timestamp);
    Outcome::Failed { retry_at }
}
