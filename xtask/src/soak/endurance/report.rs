//! The report of an endurance soak.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{Backup, Cost, Event, Options, Results};
use crate::soak::{
    figures::Samples,
    report::{Machine, machine_section, today},
};

/// The whole report, in Markdown.
pub(super) fn text(options: &Options, machine: &Machine, results: &Results) -> String {
    [
        head(options, results),
        machine_section(machine),
        cost_section(results),
        events_section(results),
        failures_section(results),
    ]
    .join("\n")
}

fn head(options: &Options, results: &Results) -> String {
    let Options { runs, seed, .. } = options;
    format!(
        "# Soak: endurance, {}\n\n`cargo xtask soak endurance --runs {runs} --seed {seed}`\n\n\
         One VM, one chain of recovery points. Before each backup 1 to 8 MiB change, and sometimes the\n\
         guest is restarted, QEMU or a backup is killed, or a disk grows. Every point is verified at the\n\
         end; the points of randomly chosen runs are restored and compared with the image files copied\n\
         while the VM was paused at that point.\n\n\
         - backups: {}, points compared: {}, failures: {}\n",
        today(),
        results.backups.len(),
        results.compared,
        results.failures.len(),
    )
}

/// One figure of a backup's cost.
type Figure = fn(&Cost) -> u64;

/// The first third of the undisturbed incrementals against the last third.
fn cost_section(results: &Results) -> String {
    let usual: Vec<&Backup> = results
        .backups
        .iter()
        .filter(|backup| backup.incremental && backup.event == Event::Nothing)
        .collect();
    let third = usual.len() / 3;
    let first = &usual[..third];
    let last = &usual[usual.len() - third..];
    let mut text = format!(
        "## What a backup costs\n\nIncrementals before which nothing but the change happened, {third} in \
         each third; medians.\n\n| | first third | last third |\n| --- | ---: | ---: |\n"
    );
    let rows: [(&str, Figure); 10] = [
        ("changed, KiB", |cost| cost.changed >> 10),
        ("read, KiB", |cost| cost.read >> 10),
        ("stored, KiB", |cost| cost.stored >> 10),
        ("objects", |cost| cost.objects),
        ("wall, ms", |cost| cost.wall_ms),
        ("CPU, ms", |cost| cost.cpu_ms),
        ("read per changed MiB, KiB", |cost| {
            per_mib(cost, cost.read >> 10)
        }),
        ("stored per changed MiB, KiB", |cost| {
            per_mib(cost, cost.stored >> 10)
        }),
        ("wall per changed MiB, ms", |cost| {
            per_mib(cost, cost.wall_ms)
        }),
        ("CPU per changed MiB, ms", |cost| per_mib(cost, cost.cpu_ms)),
    ];
    for (name, value) in rows {
        // Writing to a string cannot fail.
        writeln!(
            text,
            "| {name} | {} | {} |",
            median(first, value),
            median(last, value)
        )
        .ok();
    }
    text
}

fn per_mib(cost: &Cost, value: u64) -> u64 {
    (value << 20) / cost.changed.max(1)
}

fn median(backups: &[&Backup], value: Figure) -> String {
    let mut samples = Samples::default();
    for backup in backups {
        samples.add(value(&backup.cost));
    }
    let median = samples.quantile(50);
    median.map_or("–".to_owned(), |median| median.to_string())
}

fn events_section(results: &Results) -> String {
    let mut counts: BTreeMap<Event, (u32, u32)> = BTreeMap::new();
    for backup in &results.backups {
        let entry = counts.entry(backup.event).or_default();
        entry.0 += 1;
        entry.1 += u32::from(backup.incremental);
    }
    let mut text =
        "## What happened before, and how the backup read\n\n| before | backups | incremental | \
                    disks read in full, and why |\n| --- | ---: | ---: | --- |\n"
            .to_owned();
    for (event, (count, incremental)) in counts {
        let reasons: Vec<String> = results
            .reasons
            .iter()
            .filter(|((before, _), _)| *before == event)
            .map(|((_, reason), count)| format!("{count}: {reason}"))
            .collect();
        writeln!(
            text,
            "| {event} | {count} | {incremental} | {} |",
            reasons.join("; ")
        )
        .ok();
    }
    text
}

fn failures_section(results: &Results) -> String {
    if results.failures.is_empty() {
        return "## Failures\n\nNone.\n".to_owned();
    }
    let list = results
        .failures
        .iter()
        .map(|failure| format!("- {}\n", failure.replace('\n', "\n  ")));
    format!("## Failures\n\n{}", list.collect::<String>())
}
