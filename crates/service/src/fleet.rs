//! All protected items and the scheduler, in memory: what happened goes in, what is to be done comes out.
//!
//! Without I/O: the loop that has the catalog carries the [`Effect`]s out. What must be known after a
//! restart is in the catalog's [`Memory`](tresor_catalog::Memory) of each item.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{Timestamp, tz::TimeZone};
use tresor_catalog::{ItemRecord, ItemState, PolicyRecord, RunEnd};
use tresor_model::{JobId, VmId};
use tresor_problem::{Kind, Problem};
use tresor_schedule::{
    AfterClose, Finished, Limit, Limits, Missed, Offered, Outcome, Resource, ResourceKind,
    Scheduler, StartReason, Window,
};

use crate::{
    Standing,
    ended::End,
    outlook::Outlook,
    tracked::{Tracked, place_of},
};

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Keep an item's place in its windows.
    Place {
        /// Whose.
        vm: VmId,
        /// Seconds after the opening.
        slot_s: u64,
    },
    /// Start a backup.
    Start(Box<Start>),
    /// Keep how a job ended.
    Ended {
        /// Whose.
        vm: VmId,
        /// How.
        end: RunEnd,
    },
    /// Tell that a window closed without a start.
    Missed {
        /// Whose.
        vm: VmId,
        /// When it opened, why it was missed, and what now.
        text: String,
    },
}

/// A backup that is to start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Start {
    pub(crate) item: ItemRecord,
    /// The policy.
    pub(crate) outlook: Arc<Outlook>,
    /// When the window opened that it is for.
    pub(crate) window: Timestamp,
    pub(crate) why: StartReason,
    /// How often it was tried for this window, with this time.
    pub(crate) attempt: u32,
}

impl PartialEq for Outlook {
    fn eq(&self, other: &Self) -> bool {
        (&self.policy, self.revision) == (&other.policy, other.revision)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Fleet {
    scheduler: Scheduler,
    zone: TimeZone,
    items: BTreeMap<VmId, Tracked>,
    outlooks: BTreeMap<String, Arc<Outlook>>,
    limits: Limits,
}

impl Fleet {
    /// Nothing protected yet.
    pub(crate) fn new(limits: Limits, zone: TimeZone) -> Self {
        Self {
            scheduler: Scheduler::new(limits),
            zone,
            items: BTreeMap::new(),
            outlooks: BTreeMap::new(),
            limits,
        }
    }

    /// Takes in what the catalog has now: all policies, and all items that are protected.
    pub(crate) fn update(
        &mut self,
        policies: Vec<PolicyRecord>,
        records: Vec<ItemRecord>,
        now: Timestamp,
    ) -> Vec<Effect> {
        self.update_policies(policies, now);
        let there: BTreeSet<_> = records.iter().map(|record| record.vm).collect();
        let gone: Vec<_> = self
            .items
            .keys()
            .copied()
            .filter(|vm| !there.contains(vm))
            .collect();
        for vm in gone {
            self.scheduler.remove(vm);
            self.items.remove(&vm);
        }
        let mut effects = Vec::new();
        for record in records {
            effects.extend(self.update_item(record, now));
        }
        self.set_limits();
        effects
    }

    fn update_policies(&mut self, policies: Vec<PolicyRecord>, now: Timestamp) {
        for PolicyRecord {
            policy, revision, ..
        } in policies
        {
            let name = policy.name.clone();
            let known = self.outlooks.get(&name);
            if known.is_some_and(|known| known.revision == revision && known.policy == policy) {
                continue;
            }
            match Outlook::new(policy, revision, &self.zone, now) {
                Ok(outlook) => {
                    self.outlooks.insert(name, Arc::new(outlook));
                }
                // It was valid when it was stored: the machine has lost its zones.
                Err(error) => tracing::error!(policy = name, %error, "the policy cannot be used"),
            }
        }
    }

    /// An item that is new, or has changed in what matters here.
    fn update_item(&mut self, record: ItemRecord, now: Timestamp) -> Vec<Effect> {
        let vm = record.vm;
        let outlook = self.outlooks.get(&record.policy).map(Arc::clone);
        let Some(outlook) = outlook.filter(|_| record.state == ItemState::Protected) else {
            return Vec::new();
        };
        match self.items.get_mut(&vm) {
            Some(tracked) => {
                let is_same = Arc::ptr_eq(&tracked.outlook, &outlook)
                    && place_of(&tracked.record) == place_of(&record)
                    && tracked.record.since == record.since;
                if is_same {
                    return Vec::new();
                }
                let is_moved =
                    tracked.record.policy != record.policy || tracked.record.since != record.since;
                let own = std::mem::take(&mut tracked.record.memory);
                tracked.record = record;
                if !is_moved {
                    // What is known here is newer, if it could not be kept.
                    tracked.record.memory = own;
                }
                tracked.outlook = outlook;
                tracked.over = None;
                if tracked.job.is_some() {
                    return Vec::new(); // its next window is offered when the job has ended
                }
                self.scheduler.remove(vm);
            }
            None => {
                let tracked = Tracked {
                    record,
                    outlook,
                    job: None,
                    over: None,
                };
                self.items.insert(vm, tracked);
            }
        }
        self.offer(vm, now)
    }

    /// On a host, in a vault, as many run as the strictest policy with an item there allows.
    fn set_limits(&mut self) {
        let mut limits = BTreeMap::new();
        for tracked in self.items.values() {
            let concurrency = &tracked.outlook.policy.concurrency;
            let place = place_of(&tracked.record);
            let of = [
                (
                    ResourceKind::Host,
                    place.host,
                    concurrency.host,
                    self.limits.host,
                ),
                (
                    ResourceKind::Vault,
                    place.vault,
                    concurrency.vault,
                    self.limits.vault,
                ),
            ];
            for (kind, name, running, usual) in of {
                let resource = Resource::new(kind, &name);
                let limit = limits.entry(resource).or_insert(Limit { running, ..usual });
                limit.running = limit.running.min(running);
            }
        }
        for (resource, limit) in limits {
            self.scheduler.set_limit(resource, limit);
        }
    }

    /// Offers the next window of an item that has no job.
    fn offer(&mut self, vm: VmId, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(tracked) = self.items.get_mut(&vm) else {
            return effects;
        };
        while let Some(window) = tracked.next_window(now) {
            let item = tracked.item(window);
            match self.scheduler.offer(&item, now) {
                Ok(Offered::Placed(placed)) => {
                    let slot_s = placed.offset.as_secs();
                    let memory = &mut tracked.record.memory;
                    if memory.slot_s.replace(slot_s) != Some(slot_s) {
                        effects.push(Effect::Place { vm, slot_s });
                    }
                }
                // By a backup that began late in the window before, say: its point is of this one.
                Ok(Offered::Served) => {
                    effects.extend(tracked.pass_over(window.opens));
                    tracked.over = tracked.over.max(tracked.record.memory.last_point_at);
                    continue;
                }
                Ok(Offered::Closed | Offered::CatchingUp) => {}
                Err(error) => {
                    let vm = &tracked.record.vm_name;
                    tracing::error!(vm, %error, "no start can be placed");
                }
            }
            break;
        }
        effects
    }

    /// A job of an item that waits or runs since before this state was made.
    pub(crate) fn adopt(&mut self, vm: VmId, job: JobId, started: Timestamp, now: Timestamp) {
        let Some(tracked) = self.items.get_mut(&vm) else {
            return;
        };
        tracked.job = Some(job);
        let opens = tracked.record.memory.open_window.unwrap_or(started);
        let window = tracked
            .outlook
            .window_at(opens, tracked.record.memory.last_point_at, now);
        let window = window.unwrap_or(Window {
            opens,
            closes: opens,
            deadline: None,
            next_opens: None,
        });
        let item = tracked.item(window);
        self.scheduler.remove(vm);
        if let Err(error) = self.scheduler.adopt(&item, started) {
            tracing::error!(vm = %item.id, %error, "a job could not be counted");
        }
    }

    /// The start that was asked for has been recorded as this job.
    pub(crate) fn started(
        &mut self,
        vm: VmId,
        job: JobId,
        window: Timestamp,
        attempt: u32,
        at: Timestamp,
    ) {
        if let Some(tracked) = self.items.get_mut(&vm) {
            tracked.job = Some(job);
            tracked.over = None;
            let memory = &mut tracked.record.memory;
            memory.open_window = Some(window);
            memory.last_started_at = Some(at);
            memory.attempt = attempt.into();
            memory.not_before = None;
        }
    }

    /// The start that was asked for could not be recorded.
    pub(crate) fn not_started(&mut self, vm: VmId, retry_at: Timestamp, now: Timestamp) {
        let retry_at = Some(retry_at);
        self.scheduler.finish(vm, Outcome::Failed { retry_at }, now);
    }

    /// The items' jobs that wait or run.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (VmId, JobId)> + '_ {
        let jobs = self.items.iter();
        jobs.filter_map(|(vm, tracked)| Some((*vm, tracked.job?)))
    }

    /// Items whose next recovery point should be there, by name, as problems.
    pub(crate) fn late(&self, now: Timestamp) -> Vec<(String, Problem)> {
        let late = self.items.values().filter_map(|tracked| {
            let record = &tracked.record;
            let Standing::Late { since } = Standing::of(record, &tracked.outlook, now) else {
                return None;
            };
            let last = record.memory.last_point_at;
            let problem = Kind::RecoveryPointLate {
                vm: record.vm_name.clone(),
                last: last.map_or("none".to_owned(), |last| format!("of {last}")),
                due: since.to_string(),
            };
            Some((record.vm_name.clone(), problem.into()))
        });
        late.collect()
    }

    /// Items of which a window is being served, with their names.
    pub(crate) fn with_open_window(&self) -> Vec<(VmId, String)> {
        let records = self.items.values().map(|tracked| &tracked.record);
        records
            .filter(|record| record.memory.open_window.is_some())
            .map(|record| (record.vm, record.vm_name.clone()))
            .collect()
    }

    /// Whether the end of a job that was made then is not in what is remembered of its item: it was made no
    /// earlier than the item's last start, and no retry was noted since.
    pub(crate) fn is_news(&self, vm: VmId, made_at: Timestamp) -> bool {
        self.items.get(&vm).is_some_and(|tracked| {
            let memory = &tracked.record.memory;
            memory.not_before.is_none() && memory.last_started_at.is_none_or(|at| made_at >= at)
        })
    }

    /// What is needed to judge the end of an item's job.
    pub(crate) fn attempt(&self, vm: VmId) -> Option<(u32, Arc<Outlook>)> {
        let tracked = self.items.get(&vm)?;
        let attempt = u32::try_from(tracked.record.memory.attempt).unwrap_or(u32::MAX);
        Some((attempt.max(1), Arc::clone(&tracked.outlook)))
    }

    /// An item's job has ended.
    pub(crate) fn ended(&mut self, vm: VmId, end: &End, now: Timestamp) -> Vec<Effect> {
        let Some(tracked) = self.items.get_mut(&vm) else {
            return Vec::new();
        };
        tracked.job = None;
        let (outcome, run_end) = tracked.record_end(end);
        let mut effects = vec![Effect::Ended { vm, end: run_end }];
        match self.scheduler.finish(vm, outcome, now) {
            Finished::Retries => {}
            Finished::Done | Finished::NotRunning => effects.extend(self.offer(vm, now)),
        }
        effects
    }

    /// What is to start now, and what has missed its window. Then when to ask again.
    pub(crate) fn tick(&mut self, now: Timestamp) -> (Vec<Effect>, Option<Timestamp>) {
        let mut effects = Vec::new();
        let mut wake = None;
        // What missed its window may be due at once in the next one.
        for _ in 0..3 {
            let decisions = self.scheduler.tick(now);
            wake = decisions.wake_at;
            let starts = decisions.starts.iter();
            effects.extend(
                starts
                    .filter_map(|start| self.start(start))
                    .map(|start| Effect::Start(Box::new(start))),
            );
            for missed in &decisions.missed {
                effects.extend(self.miss(missed, now));
            }
            if decisions.missed.is_empty() {
                break;
            }
        }
        (effects, wake)
    }

    fn start(&self, start: &tresor_schedule::Start) -> Option<Start> {
        let tracked = self.items.get(&start.item)?;
        let memory = &tracked.record.memory;
        let before = memory.attempt * u64::from(memory.open_window == Some(start.window));
        Some(Start {
            item: tracked.record.clone(),
            outlook: Arc::clone(&tracked.outlook),
            window: start.window,
            why: start.why,
            attempt: u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1),
        })
    }

    fn miss(&mut self, missed: &Missed, now: Timestamp) -> Vec<Effect> {
        let vm = missed.item;
        let Some(tracked) = self.items.get_mut(&vm) else {
            return Vec::new();
        };
        let text = format!(
            "the window of {}: {}; {}",
            missed.window, missed.reason, missed.then
        );
        let mut effects = vec![Effect::Missed { vm, text }];
        if missed.then == AfterClose::NextWindow {
            effects.extend(tracked.pass_over(missed.window));
            effects.extend(self.offer(vm, now));
        }
        effects
    }
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
