//! The scheduler over a simulated fleet: how starts are spread, whether recovery points come in
//! time, and what a tick costs, next to a fixed-time cron of the same fleet.

use std::io::{self, Write as _};
use std::time::Instant;

use anyhow::Result;
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tresor_schedule::simulation::{Figures, Options, Spread, Watch, run, run_cron};
use tresor_schedule::{Decisions, Item, OfferError, Offered, Scheduler};

use crate::index::peak_mib;

/// Runs both and prints the table.
pub(crate) fn measure(items: u32, days: u32, seed: u64) -> Result<()> {
    let options = Options { items, days, seed };
    let mut out = io::stdout();
    let begin = Instant::now();
    let mut clock = Clock::default();
    let ours = run(options, &mut clock);
    writeln!(
        out,
        "{items} items, {days} days, seed {seed}: {:.0} s, {} MiB at most",
        begin.elapsed().as_secs_f64(),
        peak_mib()?
    )?;
    let cron = run_cron(options);
    writeln!(out, "| | Tresor | fixed-time cron |")?;
    writeln!(out, "|---|---|---|")?;
    let (ours, cron) = (rows(&ours), rows(&cron));
    for ((what, ours), (_, cron)) in ours.iter().zip(&cron) {
        writeln!(out, "| {what} | {ours} | {cron} |")?;
    }
    clock.tell(&mut out)
}

fn rows(figures: &Figures) -> Vec<(&'static str, String)> {
    let missed = figures.missed.iter();
    let missed: Vec<String> = missed
        .map(|(why, count)| format!("{why} {count}"))
        .collect();
    let [all, host, group, vault] = figures.peak;
    let [on_host, in_group, into_vault] = figures.together;
    let nightly = &figures.nightly_starts;
    let [service, outage, otherwise] = figures.could_be_met;
    vec![
        ("jobs started", figures.starts.to_string()),
        ("of them tried again", figures.retries.to_string()),
        ("of them caught up", figures.caught_up.to_string()),
        ("jobs failed or cut off", figures.failed.to_string()),
        ("windows missed", missed.join(", ")),
        (
            "starts a minute at night: mean, median, p99, max",
            format!(
                "{:.1}, {}, {}, {}",
                nightly.mean, nightly.median, nightly.p99, nightly.most
            ),
        ),
        (
            "starts in the busiest minute of all",
            figures.busiest_minute.to_string(),
        ),
        ("running at once, at most: all", all.to_string()),
        (
            "... on a host, in a storage group, into a vault",
            format!("{host}, {group}, {vault}"),
        ),
        (
            "starts in one second, at most: on a host, in a group, into a vault",
            format!("{on_host}, {in_group}, {into_vault}"),
        ),
        (
            "wait in the window, s: mean, median, p99, max",
            spread(&figures.waits),
        ),
        (
            "wait to be caught up, s, service up: mean, median, p99, max",
            spread(&figures.catch_up_waits),
        ),
        ("items starved", figures.starved.to_string()),
        ("items caught up twice", figures.caught_up_twice.to_string()),
        (
            "a nightly start moves from day to day, min: mean, median, p99, max",
            spread(&figures.moves),
        ),
        (
            "slots that moved, of a million",
            figures.slots_moved.to_string(),
        ),
        ("recovery points late", figures.late.to_string()),
        (
            "... not to be met even alone",
            figures.late_even_alone.to_string(),
        ),
        (
            "... not to be met by so many",
            figures.late_by_count.to_string(),
        ),
        (
            "... that could have been met: around the downtime, around an outage of the host, else",
            format!("{service}, {outage}, {otherwise}"),
        ),
    ]
}

fn spread(spread: &Spread) -> String {
    if spread.count == 0 {
        return "-".to_owned();
    }
    format!(
        "{:.1}, {}, {}, {}",
        spread.mean, spread.median, spread.p99, spread.most
    )
}

/// Nanoseconds of processor time that this thread has used: other work on the machine does not
/// count.
fn cpu_ns() -> i64 {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    used.tv_sec * 1_000_000_000 + used.tv_nsec
}

/// Times each call, and remembers how many items waited in the dearest tick.
#[derive(Debug, Default)]
struct Clock {
    ticks_us: Vec<i64>,
    offers_ns: Vec<i64>,
    most_waiting: usize,
    dearest: (i64, usize, usize),
}

impl Watch for Clock {
    fn tick(&mut self, scheduler: &mut Scheduler, now: Timestamp) -> Decisions {
        let begin = cpu_ns();
        let decisions = scheduler.tick(now);
        let took = (cpu_ns() - begin) / 1000;
        self.ticks_us.push(took);
        let waiting = scheduler.waiting();
        self.most_waiting = self.most_waiting.max(waiting);
        self.dearest = self.dearest.max((took, waiting, decisions.starts.len()));
        decisions
    }

    fn offer(
        &mut self,
        scheduler: &mut Scheduler,
        item: &Item,
        now: Timestamp,
    ) -> Result<Offered, OfferError> {
        let begin = cpu_ns();
        let offered = scheduler.offer(item, now);
        let took = cpu_ns() - begin;
        self.offers_ns.push(took);
        offered
    }
}

impl Clock {
    fn tell(self, out: &mut impl io::Write) -> Result<()> {
        let (ticks, offers) = (Spread::of(self.ticks_us), Spread::of(self.offers_ns));
        let ms = |us: i64| us as f64 / 1000.0;
        writeln!(
            out,
            "ticks: {}; ms of processor time: mean {:.3}, median {:.3}, p99 {:.3}, max {:.1}",
            ticks.count,
            ticks.mean / 1000.0,
            ms(ticks.median),
            ms(ticks.p99),
            ms(ticks.most)
        )?;
        let (us, waiting, started) = self.dearest;
        writeln!(
            out,
            "the dearest tick: {:.1} ms, {started} started, {waiting} wait then; most that waited: {}",
            ms(us),
            self.most_waiting
        )?;
        writeln!(
            out,
            "offers: {}; us of processor time: mean {:.2}, median {:.2}, p99 {:.2}, max {:.0}",
            offers.count,
            offers.mean / 1000.0,
            ms(offers.median),
            ms(offers.p99),
            ms(offers.most)
        )?;
        Ok(())
    }
}
