//! The same fleet by a fixed-time cron: each item starts when its window opens, whatever else runs,
//! and once. Its jobs take no longer for running all at once, which is more than fair to it.

use super::figures::Figures;
use super::fleet::{Fleet, Options};
use super::ledgers::{Counts, Lateness};
use crate::time::Second;

/// Runs the fleet.
#[must_use]
pub fn run(options: Options) -> Figures {
    let fleet = Fleet::new(options);
    let mut figures = Figures::default();
    let mut lateness = Lateness::default();
    // Ends before starts of the same second.
    let mut events: Vec<(Second, bool, usize)> = Vec::new();
    for item in 0..fleet.members.len() {
        let (mut taken, mut busy) = (None, Second::MIN);
        for (window, (opens, _)) in fleet.policy(item).windows.iter().enumerate() {
            let opens = *opens;
            if opens <= fleet.begin || opens >= fleet.end || opens < busy {
                continue;
            }
            let down = fleet.downtime;
            let outage = fleet.outage(item, opens);
            if (down.from..down.until).contains(&opens)
                || outage.is_some_and(|away| away.from <= opens)
            {
                *figures.missed.entry("service or host away").or_default() += 1;
                continue;
            }
            let fate = fleet.fate(item, window, 0);
            let cut = outage.map_or(Second::MAX, |away| away.from);
            busy = (opens + fate.takes).min(cut);
            figures.starts += 1;
            events.push((opens, true, item));
            events.push((busy, false, item));
            if fate.fails || cut < opens + fate.takes {
                figures.failed += 1;
                continue;
            }
            if busy >= fleet.end {
                continue;
            }
            if let Some(before) = taken.replace(opens) {
                lateness.point(&fleet, item, before, Some(busy));
            }
        }
        if let Some(taken) = taken
            && taken + fleet.policy(item).rpo < fleet.end
        {
            lateness.point(&fleet, item, taken, None);
        }
    }
    events.sort_unstable();
    let mut counts = Counts::new(&fleet);
    for (at, starts, item) in events {
        let uses = fleet.uses(item);
        if starts {
            counts.start(uses, at);
        } else {
            counts.end(uses);
        }
    }
    counts.tell(&fleet, &mut figures);
    lateness.tell(&fleet, &mut figures);
    figures
}
