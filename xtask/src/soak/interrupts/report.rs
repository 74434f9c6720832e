//! The report of a soak of interruptions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use tresor_testkit::interrupts::{Fault, Outcome};

use super::{Options, Results};
use crate::soak::{
    figures::{Samples, millis},
    report::{Machine, machine_section, today},
};

/// The whole report, in Markdown.
pub(super) fn text(options: &Options, machine: &Machine, results: &Results) -> String {
    [
        head(options, results),
        machine_section(machine),
        points_section(results),
        faults_section(results),
        freeze_section(results),
        next_section(results),
        failures_section(options, results),
    ]
    .join("\n")
}

fn head(options: &Options, results: &Results) -> String {
    let Options { runs, seed, .. } = options;
    let hits = hits(results);
    let least = (0..results.points.len())
        .map(|point| hits.get(&point).copied().unwrap_or(0))
        .min()
        .unwrap_or(0);
    format!(
        "# Soak: interrupts, {}\n\n`cargo xtask soak interrupts --runs {runs} --seed {seed}`\n\n\
         Each run holds a backup of a writing guest at a moment, does harm, and lets it go. The moments\n\
         are made from the table of sub-tasks ({} of them), the faults are {}. Afterwards the guest must\n\
         run and write, nothing of ours may be left (node, export, job, object, bitmap but the last\n\
         point's, socket, fleecing file, guard process, open job), every earlier point must be there,\n\
         `tresor verify` must find no damage, and the next backup must be incremental or say why not,\n\
         and equal the image files copied while the guest was paused.\n\n\
         - runs: {}, failures: {}\n- every moment was hit {least} times or more\n",
        today(),
        results.points.len(),
        Fault::ALL.len(),
        results.runs.len() + results.failures.len(),
        results.failures.len(),
    )
}

fn hits(results: &Results) -> BTreeMap<usize, u32> {
    let mut hits = BTreeMap::new();
    for (turn, _) in &results.runs {
        *hits.entry(turn.point).or_default() += 1;
    }
    hits
}

/// Moment × fault: the first letters of how the backups ended, and how often.
fn points_section(results: &Results) -> String {
    let mut text = "## Moment and fault\n\nIn each field: how often, and how the backups ended. c: completed, \
                    p: taken back with a problem,\nk: killed. (In brackets: there was no connection to \
                    cut.)\n\n| sub-task | moment | runs |"
        .to_owned();
    for fault in Fault::ALL {
        write!(text, " {fault} |").ok();
    }
    text.push_str("\n| --- | --- | ---: |");
    text.push_str(&" --- |".repeat(Fault::ALL.len()));
    let hits = hits(results);
    for (index, point) in results.points.iter().enumerate() {
        let count = hits.get(&index).copied().unwrap_or(0);
        write!(text, "\n| {} | {} | {count} |", point.name, point.moment).ok();
        for fault in Fault::ALL {
            write!(text, " {} |", field(results, index, fault)).ok();
        }
    }
    text.push('\n');
    text
}

fn field(results: &Results, point: usize, fault: Fault) -> String {
    let mut letters: BTreeMap<&str, u32> = BTreeMap::new();
    let runs = results.runs.iter();
    for (_, report) in runs.filter(|(turn, _)| turn.point == point && turn.fault == fault) {
        let letter = match (&report.outcome, report.met) {
            (Outcome::Completed, true) => "c",
            (Outcome::Completed, false) => "(c)",
            (Outcome::Problem(_), _) => "p",
            (Outcome::Killed, _) => "k",
        };
        *letters.entry(letter).or_default() += 1;
    }
    let shown = letters.iter().map(|(letter, count)| match count {
        1 => (*letter).to_owned(),
        count => format!("{count}{letter}"),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// What users read, by fault.
fn faults_section(results: &Results) -> String {
    let mut ends: BTreeMap<(Fault, &Outcome), u32> = BTreeMap::new();
    for (turn, report) in &results.runs {
        *ends.entry((turn.fault, &report.outcome)).or_default() += 1;
    }
    let mut text =
        "## How the backups ended\n\n| fault | end | runs |\n| --- | --- | ---: |\n".to_owned();
    for ((fault, outcome), count) in ends {
        writeln!(text, "| {fault} | {outcome} | {count} |").ok();
    }
    text
}

fn freeze_section(results: &Results) -> String {
    let mut gaps = Samples::default();
    let mut frozen = Samples::default();
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    for (_, report) in &results.runs {
        report.gap.into_iter().for_each(|gap| gaps.add(micros(gap)));
        report
            .frozen
            .into_iter()
            .for_each(|time| frozen.add(micros(time)));
    }
    let row = |what: &str, samples: &Samples| {
        format!(
            "| {what} | {} | {} | {} | {} |\n",
            samples.count(),
            millis(samples.quantile(50)),
            millis(samples.quantile(90)),
            millis(samples.worst())
        )
    };
    format!(
        "## Frozen time, ms\n\n| seen by | runs | median | p90 | longest |\n| --- | ---: | ---: | ---: | ---: |\n{}{}\n\
         The writer's figure is the longest time between two writes of a run, interruption included:\n\
         a backup that is held or killed in the freeze keeps the guest frozen until it is let go or\n\
         the guard has thawed.\n",
        row("host, backups that completed", &frozen),
        row("writers in the guest, runs in which QEMU lived", &gaps)
    )
}

/// How the next backups read the disks: every reason that is not "incremental", by fault.
fn next_section(results: &Results) -> String {
    let mut modes: BTreeMap<String, (u32, BTreeSet<Fault>)> = BTreeMap::new();
    for (turn, report) in &results.runs {
        for mode in &report.next {
            let entry = modes.entry(without_names(mode)).or_default();
            entry.0 += 1;
            entry.1.insert(turn.fault);
        }
    }
    let mut text =
        "## The next backup, by disk\n\n| how it was read | disks | after |\n| --- | ---: | --- |\n"
            .to_owned();
    for (mode, (count, faults)) in modes {
        let faults: Vec<String> = match faults.len() {
            all if all == Fault::ALL.len() => vec!["every fault".to_owned()],
            _ => faults.iter().map(ToString::to_string).collect(),
        };
        writeln!(text, "| {mode} | {count} | {} |", faults.join(", ")).ok();
    }
    text
}

/// A reason without the names of bitmaps in it, which differ from run to run.
fn without_names(reason: &str) -> String {
    let words = reason.split(' ');
    let shown = words.map(|word| {
        if word.starts_with("tresor-") {
            "…"
        } else {
            word
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn failures_section(options: &Options, results: &Results) -> String {
    if results.failures.is_empty() {
        return "## Failures\n\nNone.\n".to_owned();
    }
    let Options { runs, seed, .. } = options;
    let list: String = results
        .failures
        .iter()
        .map(|failure| format!("- {}\n", failure.replace('\n', "\n  ")))
        .collect();
    format!(
        "## Failures\n\nEach again: `cargo xtask soak interrupts --runs {runs} --seed {seed} --only RUN`\n\n{list}"
    )
}
