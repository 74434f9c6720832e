//! What holds whatever happens.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use support::{HOUR, at, id, item, limit, limits, second, window};
use tresor_model::VmId;
use tresor_schedule::{
    AfterClose, Decisions, Finished, Item, Limits, Offered, Outcome, Priority, Resource,
    ResourceKind, Scheduler, StartReason,
};

const ITEMS: u32 = 12;

/// Something that happens to the scheduler.
#[derive(Debug, Clone)]
enum Step {
    Offer(Offer),
    Pass(i64),
    Finish {
        nth: usize,
        retry: Option<i64>,
        fails: bool,
    },
    Hold {
        number: u32,
        until: Option<i64>,
    },
    Bear {
        host: usize,
        running: u32,
    },
    Remove(u32),
}

/// A window from now on, or before it.
#[derive(Debug, Clone)]
struct Offer {
    number: u32,
    host: usize,
    vault: bool,
    group: bool,
    opens: i64,
    length: i64,
    deadline: Option<i64>,
    next: Option<i64>,
    takes: u64,
    kept: Option<u64>,
    priority: Priority,
}

fn offer() -> impl Strategy<Value = Offer> {
    let place = (0..ITEMS, 0_usize..3, any::<bool>(), any::<bool>());
    let times = (
        -4 * HOUR..8 * HOUR,
        0..3 * HOUR,
        prop::option::of(-HOUR..12 * HOUR),
        prop::option::of(HOUR..24 * HOUR),
    );
    let priority = prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High]);
    let rest = (1_u64..7200, prop::option::of(0_u64..7200), priority);
    (place, times, rest).prop_map(|(place, times, rest)| Offer {
        number: place.0,
        host: place.1,
        vault: place.2,
        group: place.3,
        opens: times.0,
        length: times.1,
        deadline: times.2,
        next: times.3,
        takes: rest.0,
        kept: rest.1,
        priority: rest.2,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let finish = (
        any::<usize>(),
        prop::option::of(0..2 * HOUR),
        prop::bool::weighted(0.3),
    );
    let hold = (0..ITEMS, prop::option::of(0..3 * HOUR));
    prop_oneof![
        6 => offer().prop_map(Step::Offer),
        6 => prop_oneof![0_i64..120, 0..2 * HOUR].prop_map(Step::Pass),
        5 => finish.prop_map(|(nth, retry, fails)| Step::Finish { nth, retry, fails }),
        1 => hold.prop_map(|(number, until)| Step::Hold { number, until }),
        1 => (0_usize..3, 0_u32..3).prop_map(|(host, running)| Step::Bear { host, running }),
        1 => (0..ITEMS).prop_map(Step::Remove),
    ]
}

const HOSTS: [&str; 3] = ["a", "b", "c"];

fn bounds() -> Limits {
    limits(limit(2, 60), limit(3, 5), limit(4, 1))
}

fn gap(kind: ResourceKind) -> i64 {
    match kind {
        ResourceKind::Host => 60,
        ResourceKind::Group => 5,
        ResourceKind::Vault => 1,
    }
}

fn resources(item: &Item) -> Vec<Resource> {
    let host = Resource::new(ResourceKind::Host, &item.place.host);
    let vault = Resource::new(ResourceKind::Vault, &item.place.vault);
    let group = item.place.group.as_deref();
    let group = group.map(|name| Resource::new(ResourceKind::Group, name));
    [host, vault].into_iter().chain(group).collect()
}

/// What an observer believes, by what it is told.
struct Model {
    scheduler: Scheduler,
    now: i64,
    /// As they were taken in last.
    offered: BTreeMap<VmId, Item>,
    removed: BTreeSet<VmId>,
    holds: BTreeMap<VmId, i64>,
    running: BTreeMap<VmId, Item>,
    host_limits: BTreeMap<&'static str, u32>,
    last_start: BTreeMap<Resource, i64>,
    /// Windows by item and opening that were started without being a try again.
    served: BTreeMap<(VmId, i64), u32>,
    log: Vec<Decisions>,
}

impl Model {
    fn new() -> Self {
        Self {
            scheduler: Scheduler::new(bounds()),
            now: 0,
            offered: BTreeMap::new(),
            removed: BTreeSet::new(),
            holds: BTreeMap::new(),
            running: BTreeMap::new(),
            host_limits: BTreeMap::new(),
            last_start: BTreeMap::new(),
            served: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    fn does(&mut self, step: &Step) {
        match step {
            Step::Offer(offer) => self.offers(offer),
            Step::Pass(seconds) => self.now += seconds,
            Step::Finish { nth, retry, fails } => {
                let count = self.running.len().max(1);
                if let Some(id) = self.running.keys().nth(nth % count).copied() {
                    let retry_at = retry.map(|after| at(self.now + after));
                    self.finish(
                        id,
                        if *fails {
                            Outcome::Failed { retry_at }
                        } else {
                            Outcome::Succeeded
                        },
                    );
                }
            }
            Step::Hold { number, until } => {
                let until = until.map(|after| self.now + after);
                self.scheduler.hold(id(*number), until.map(at));
                match until {
                    Some(until) => self.holds.insert(id(*number), until),
                    None => self.holds.remove(&id(*number)),
                };
            }
            Step::Bear { host, running } => {
                let host = HOSTS[*host];
                let resource = Resource::new(ResourceKind::Host, host);
                self.scheduler.set_limit(resource, limit(*running, 60));
                self.host_limits.insert(host, *running);
            }
            Step::Remove(number) => {
                self.scheduler.remove(id(*number));
                self.removed.insert(id(*number));
            }
        }
        self.tick();
    }

    fn offers(&mut self, offer: &Offer) {
        let opens = self.now + offer.opens;
        let mut item = item(
            offer.number,
            HOSTS[offer.host],
            window(opens, opens + offer.length),
        );
        item.place.vault = if offer.vault { "v" } else { "w" }.to_owned();
        item.place.group = offer.group.then(|| "g".to_owned());
        item.window.deadline = offer.deadline.map(|after| at(self.now + after));
        item.window.next_opens = offer.next.map(|after| at(opens + after));
        item.expected.duration = Duration::from_secs(offer.takes);
        item.kept = offer.kept.map(Duration::from_secs);
        item.priority = offer.priority;
        let offered = self.scheduler.offer(&item, at(self.now)).unwrap();
        // Protected again, even if this window is not needed.
        self.removed.remove(&item.id);
        match offered {
            Offered::Placed(placement) => {
                let start = second(placement.start);
                assert!((opens.max(self.now)..=opens + offer.length).contains(&start));
                assert_eq!(
                    start - opens,
                    i64::try_from(placement.offset.as_secs()).unwrap()
                );
            }
            Offered::Closed => assert!(opens + offer.length < self.now),
            Offered::Served | Offered::CatchingUp => return,
        }
        self.holds.remove(&item.id);
        self.offered.insert(item.id, item);
    }

    fn finish(&mut self, id: VmId, outcome: Outcome) {
        self.running.remove(&id).unwrap();
        let finished = self.scheduler.finish(id, outcome, at(self.now));
        assert_ne!(finished, Finished::NotRunning);
        assert!(!self.scheduler.runs(id));
    }

    fn tick(&mut self) {
        let decisions = self.scheduler.tick(at(self.now));
        for start in &decisions.starts {
            assert!(
                !self.removed.contains(&start.item),
                "{} was removed",
                start.item
            );
            let item = self.offered[&start.item].clone();
            assert!(
                self.running.insert(item.id, item.clone()).is_none(),
                "runs already"
            );
            self.check_start(&item, start.why, second(start.window));
        }
        for missed in &decisions.missed {
            if missed.then == AfterClose::NextWindow {
                assert_eq!(self.scheduler.why(missed.item), None);
            }
        }
        if let Some(wake) = decisions.wake_at {
            assert!(wake > at(self.now), "a tick leaves nothing undone");
        }
        self.log.push(decisions);
    }

    fn check_start(&mut self, item: &Item, why: StartReason, opens: i64) {
        if why == StartReason::Window {
            let (from, until) = (second(item.window.opens), second(item.window.closes));
            assert!((from..=until).contains(&self.now), "outside its window");
        }
        if why != StartReason::Retry {
            let count = self.served.entry((item.id, opens)).or_default();
            *count += 1;
            assert_eq!(*count, 1, "{} twice in one window", item.id);
            let held = self.holds.get(&item.id);
            assert!(held.is_none_or(|until| *until <= self.now), "held back");
        }
        for resource in resources(item) {
            let uses = self
                .running
                .values()
                .filter(|other| resources(other).contains(&resource));
            let most = match resource.kind {
                ResourceKind::Host => *self.host_limits.get(&*resource.name).unwrap_or(&2),
                ResourceKind::Group => 3,
                ResourceKind::Vault => 4,
            };
            assert!(uses.count() <= most as usize, "too many on {resource}");
            let before = self.last_start.insert(resource.clone(), self.now);
            let early = before.is_some_and(|before| self.now < before + gap(resource.kind));
            assert!(!early, "too soon on {resource}");
        }
    }

    /// Nothing new comes and nothing is in the way: everything that is to start does, in bounded time.
    fn drains(&mut self) {
        for host in HOSTS {
            self.does(&Step::Bear {
                host: HOSTS.iter().position(|name| *name == host).unwrap(),
                running: 2,
            });
        }
        for number in 0..ITEMS {
            self.does(&Step::Hold {
                number,
                until: None,
            });
        }
        for _ in 0..100 * ITEMS {
            let running: Vec<VmId> = self.running.keys().copied().collect();
            for id in running {
                self.finish(id, Outcome::Succeeded);
            }
            self.tick();
            let wake = self.log.last().and_then(|decisions| decisions.wake_at);
            match wake {
                Some(wake) => self.now = second(wake),
                None if self.running.is_empty() => break,
                None => {}
            }
        }
        assert_eq!(self.scheduler.waiting(), 0, "somebody waits for ever");
        for number in 0..ITEMS {
            assert_eq!(self.scheduler.why(id(number)), None);
        }
    }
}

fn run(steps: &[Step]) -> Model {
    let mut model = Model::new();
    for step in steps {
        model.does(step);
    }
    model
}

proptest! {

    /// Limits and gaps hold, starts are in their windows, once, one at a time, nothing held back
    /// starts, and in the end nobody waits.
    #[test]
    fn whatever_happens(steps in prop::collection::vec(step(), 1..120)) {
        run(&steps).drains();
    }

    #[test]
    fn the_same_calls_give_the_same_answers(steps in prop::collection::vec(step(), 1..80)) {
        prop_assert_eq!(run(&steps).log, run(&steps).log);
    }

    /// Any number of windows may have passed: a downtime costs each item one start.
    #[test]
    fn a_downtime_is_caught_up_once(
        every in HOUR..12 * HOUR,
        down in 1..200_i64,
        ages in prop::collection::vec(0..100_i64, 1..20),
    ) {
        let mut scheduler = Scheduler::new(bounds());
        let back = down * HOUR;
        let mut caught_up: BTreeMap<VmId, u32> = BTreeMap::new();
        let next_opens = (back / every + 1) * every;
        let windows = |last: i64| (1..).map(move |n| (last / every + n) * every);
        let offer_after = |scheduler: &mut Scheduler, number: u32, last: i64, now: i64| {
            let opens = windows(last).next().unwrap();
            let mut item = item(number, "a", window(opens, opens + HOUR / 2));
            item.window.next_opens = Some(at((now.max(opens) / every + 1) * every));
            scheduler.offer(&item, at(now)).unwrap()
        };
        for (number, age) in (0..).zip(&ages) {
            offer_after(&mut scheduler, number, -age, back);
        }
        let mut now = back;
        while now < next_opens {
            let decisions = scheduler.tick(at(now));
            for start in &decisions.starts {
                let number = (0..ITEMS * 2).find(|number| id(*number) == start.item).unwrap();
                if start.why == StartReason::CatchUp {
                    *caught_up.entry(start.item).or_default() += 1;
                }
                scheduler.finish(start.item, Outcome::Succeeded, at(now));
                offer_after(&mut scheduler, number, now, now);
            }
            now = decisions.wake_at.map_or(next_opens, second).max(now + 1);
        }
        prop_assert!(caught_up.values().all(|count| *count == 1), "{:?}", caught_up);
    }
}
