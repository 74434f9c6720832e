//! Who keeps count, beside the schedule and not by its word.

use std::collections::BTreeMap;

use super::bound::{Due, alone, fewest_late, fewest_late_of_two};
use super::figures::{Figures, Spread};
use super::fleet::{Away, Fleet, LIMITS};
use crate::time::{Second, seconds};

/// What runs and starts where.
pub(super) struct Counts {
    begin: Second,
    /// Starts by minute.
    minutes: Vec<i64>,
    /// By kind and number: running, the second of the last start, starts in it.
    used: [Vec<(u32, Second, u32)>; 3],
    running: u32,
    peak: [u32; 4],
    together: [u32; 3],
}

impl Counts {
    pub(super) fn new(fleet: &Fleet) -> Self {
        let minutes = usize::try_from((fleet.end - fleet.begin) / 60 + 1).unwrap_or(0);
        Self {
            begin: fleet.begin,
            minutes: vec![0; minutes],
            used: fleet
                .counts
                .map(|count| vec![(0, Second::MIN, 0); count as usize]),
            running: 0,
            peak: [0; 4],
            together: [0; 3],
        }
    }

    pub(super) fn start(&mut self, uses: [usize; 3], now: Second) {
        if let Ok(minute) = usize::try_from((now - self.begin) / 60)
            && let Some(count) = self.minutes.get_mut(minute)
        {
            *count += 1;
        }
        self.running += 1;
        self.peak[0] = self.peak[0].max(self.running);
        for (kind, number) in uses.into_iter().enumerate() {
            let (running, last, together) = &mut self.used[kind][number];
            *running += 1;
            *together = if *last == now { *together + 1 } else { 1 };
            *last = now;
            self.peak[kind + 1] = self.peak[kind + 1].max(*running);
            self.together[kind] = self.together[kind].max(*together);
        }
    }

    pub(super) fn end(&mut self, uses: [usize; 3]) {
        self.running -= 1;
        for (kind, number) in uses.into_iter().enumerate() {
            self.used[kind][number].0 -= 1;
        }
    }

    pub(super) fn tell(&self, fleet: &Fleet, figures: &mut Figures) {
        // The first night begins with nothing known, and a day after the downtime it still echoes.
        let echo = fleet.downtime.from - 86_400..fleet.downtime.until + 86_400;
        let nights = fleet.policies[0].windows.iter().skip(2);
        let nights = nights.filter(|(opens, closes)| *closes < fleet.end && !echo.contains(opens));
        let mut quiet = Vec::new();
        for (opens, closes) in nights {
            let minute = |at: Second| usize::try_from((at - self.begin) / 60).unwrap_or(0);
            quiet.extend_from_slice(&self.minutes[minute(*opens)..minute(*closes)]);
        }
        figures.nightly_starts = Spread::of(quiet);
        figures.busiest_minute = self.minutes.iter().copied().max().unwrap_or(0);
        figures.peak = self.peak;
        figures.together = self.together;
    }
}

/// An item's point that had to come after something had been away: when it was due, how much work
/// it was, and whether it was late.
struct Job {
    item: usize,
    due: Due,
    late: bool,
}

/// Which points were late, and whether they had to be.
#[derive(Default)]
pub(super) struct Lateness {
    late: u64,
    even_alone: u64,
    /// Late, without anything having been away when its window opened: what went away later, by
    /// [`Figures::could_be_met`]'s causes.
    unexcused: [u64; 3],
    /// By what was away: the host, or none for the service, and since when it is back.
    episodes: BTreeMap<(Option<u32>, Second), Vec<Job>>,
}

impl Lateness {
    /// Notes a point of an item, or that none came until the end; the one before has the data of
    /// `before`.
    pub(super) fn point(
        &mut self,
        fleet: &Fleet,
        item: usize,
        before: Second,
        finished: Option<Second>,
    ) {
        let deadline = before + fleet.policy(item).rpo;
        let late = finished.is_none_or(|finished| finished > deadline);
        self.late += u64::from(late);
        let window = fleet.window_after(item, before);
        let episode = episode(fleet, item, window, deadline);
        if !late && episode.is_none() {
            return;
        }
        let alone = [window, window + 1].map(|window| alone(fleet, item, window));
        let earliest = alone.into_iter().flatten().min();
        if earliest.is_none_or(|earliest| earliest > deadline) {
            self.even_alone += u64::from(late);
            return;
        }
        match episode {
            None => self.unexcused[cause(fleet, item, window, deadline)] += 1,
            Some(key) => {
                let takes = fleet.fate(item, window, 0).takes;
                let due = Due { deadline, takes };
                let jobs = self.episodes.entry(key).or_default();
                jobs.push(Job { item, due, late });
            }
        }
    }

    pub(super) fn tell(&self, fleet: &Fleet, figures: &mut Figures) {
        (figures.late, figures.late_even_alone) = (self.late, self.even_alone);
        figures.could_be_met = self.unexcused;
        for ((host, back), jobs) in &self.episodes {
            let late = jobs.iter().filter(|job| job.late).count() as u64;
            let kinds = if host.is_some() { 0..1 } else { 0..3 };
            let fewest = kinds.map(|kind| fewest(fleet, jobs, kind, *back)).max();
            let fewest = fewest.unwrap_or(0).min(late);
            figures.late_by_count += fewest;
            figures.could_be_met[usize::from(host.is_some())] += late - fewest;
        }
    }
}

/// What was away when a window opened, and came back before the deadline.
fn episode(
    fleet: &Fleet,
    item: usize,
    window: usize,
    deadline: Second,
) -> Option<(Option<u32>, Second)> {
    let opens = fleet.policy(item).windows.get(window)?.0;
    let holds = |away: &Away| away.from <= opens && opens < away.until && away.until <= deadline;
    let host = fleet.outage(item, opens).filter(holds);
    let host = host.map(|away| (Some(fleet.members[item].host), away.until));
    let service = Some(fleet.downtime).filter(holds);
    let service = service.map(|away| (None, away.until));
    host.into_iter()
        .chain(service)
        .max_by_key(|(_, back)| *back)
}

/// What was away between the opening of a window and a deadline: the service, the host, nothing.
fn cause(fleet: &Fleet, item: usize, window: usize, deadline: Second) -> usize {
    let windows = &fleet.policy(item).windows;
    let opens = windows.get(window).map_or(deadline, |(opens, _)| *opens);
    let down = fleet.downtime;
    if down.from < deadline && opens < down.until {
        0
    } else {
        2 - usize::from(fleet.away(item, opens, deadline) > 0)
    }
}

/// The fewest that had to be late, by what they needed of one kind: by its places, or by the gap
/// between its starts.
fn fewest(fleet: &Fleet, jobs: &[Job], kind: usize, back: Second) -> u64 {
    let limit = [LIMITS.host, LIMITS.group, LIMITS.vault][kind];
    let gap = seconds(limit.start_gap);
    let mut by_use: BTreeMap<usize, (Vec<Due>, usize)> = BTreeMap::new();
    for job in jobs {
        let used = fleet.uses(job.item)[kind];
        let (dues, late) = by_use.entry(used).or_default();
        dues.push(job.due);
        *late += usize::from(job.late);
    }
    let fewest = |(dues, late): &mut (Vec<Due>, usize)| {
        let mut by_places = fewest_late(dues, back, limit.running);
        if limit.running == 2 {
            by_places = by_places.max(fewest_late_of_two(dues, back, *late) as u64);
        }
        for due in dues.iter_mut() {
            // A start takes the gap; the first one needs none before it.
            due.deadline += gap - due.takes;
            due.takes = gap;
        }
        by_places.max(fewest_late(dues, back, 1)).min(*late as u64)
    };
    by_use.values_mut().map(fewest).sum()
}
