//! The report of a freeze soak: on standard output and as a file to commit.

use std::{fmt::Write as _, fs};

use anyhow::{Context, Result};
use tresor_testkit::{Accelerator, Guest};

use super::{
    Options,
    figures::{Samples, millis},
    freeze::Outcome,
    writers::{Latencies, Phase},
};
use crate::{term::say, workspace};

/// What is wanted of the idle series, microseconds.
const WANTED_MEDIAN: u64 = 80_000;
const WANTED_WORST: u64 = 300_000;

/// What the figures were taken on.
#[derive(Debug)]
pub(super) struct Machine {
    cores: usize,
    processor: String,
    qemu: String,
    accelerator: Accelerator,
    /// The load averages when it began.
    load: String,
}

impl Machine {
    pub(super) fn observe(guest: &Guest) -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: model
                .map_or("not known", |(_, name)| name.trim())
                .to_owned(),
            qemu: guest.qemu().version.clone(),
            accelerator: guest.accelerator(),
            load: load(),
        }
    }

    /// Whether others had most of the processors' time before the soak began.
    fn is_busy(&self) -> bool {
        let minute = self.load.split(' ').next().unwrap_or_default();
        let load: f64 = minute.parse().unwrap_or(0.0);
        // No machine has so many processors that the conversion loses any.
        load * 2.0 > f64::from(u32::try_from(self.cores).unwrap_or(u32::MAX))
    }
}

/// The averages of 1, 5 and 15 minutes.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The whole report, in Markdown.
pub(super) fn text(options: &Options, machine: &Machine, outcome: &Outcome) -> String {
    [
        head(options, &today()),
        machine_section(machine),
        frozen_section(outcome),
        criteria(&outcome.idle),
        latency_section(&outcome.inside, &outcome.outside),
        failures(&outcome.failures),
    ]
    .join("\n")
}

/// The date of a report.
pub(super) fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

/// Prints a report, and writes it where the options say, or to its place among the reports.
pub(super) fn publish(options: &Options, text: &str) -> Result<()> {
    publish_as(options, &options.name, text)
}

/// The same, under another name than the soak's.
#[allow(clippy::print_stdout, reason = "the report is the program's result")]
pub(super) fn publish_as(options: &Options, name: &str, text: &str) -> Result<()> {
    println!("{text}");
    let file = match &options.report {
        Some(file) => file.clone(),
        None => workspace::root()?
            .join("docs/reports")
            .join(format!("{}-soak-{name}.md", today())),
    };
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!("the report is in {}", file.display()));
    Ok(())
}

fn head(options: &Options, date: &str) -> String {
    let Options {
        name, runs, seed, ..
    } = options;
    format!(
        "# Soak: freeze, {date}\n\n`cargo xtask soak {name} --runs {runs} --seed {seed}`\n\n\
         Each run is a backup of an idle guest and a backup of one that writes 4 KiB with O_DSYNC to\n\
         each mount, about every 5 ms. 1 to 8 MiB change before each. Times are reported, never\n\
         asserted; a run fails when a backup fails or the guest is harmed.\n"
    )
}

/// What the figures were taken on.
pub(super) fn machine_section(machine: &Machine) -> String {
    let accelerator = match machine.accelerator {
        Accelerator::Kvm => "KVM",
        Accelerator::Tcg => "software emulation (TCG)",
    };
    format!(
        "## Machine\n\n- {} processors ({})\n- QEMU {}, {accelerator}, guest with one processor\n\
         - load averages: {} at the start, {} at the end{}\n",
        machine.cores,
        machine.processor,
        machine.qemu,
        machine.load,
        load(),
        if machine.is_busy() {
            "\n- others used it at the start: the figures are worse than a quiet machine's"
        } else {
            ""
        }
    )
}

fn frozen_section(outcome: &Outcome) -> String {
    let mut text = "## Frozen time, ms\n\n| series | seen by | runs | median | p90 | worst |\n\
                    | --- | --- | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    let host = "host: freeze command sent → thaw answered";
    let mut row = |series: &str, seen_by: &str, samples: &Samples| {
        let [median, p90] = [50, 90].map(|percent| millis(samples.quantile(percent)));
        let (count, worst) = (samples.count(), millis(samples.worst()));
        // Writing to a string cannot fail.
        writeln!(
            text,
            "| {series} | {seen_by} | {count} | {median} | {p90} | {worst} |"
        )
        .ok();
    };
    row("idle", host, &outcome.idle);
    row("writing", host, &outcome.writing);
    for ((phase, mount), latency) in &outcome.inside {
        if *phase == Phase::Snapshot {
            let seen_by = format!("writer on {mount}: longest time between two writes' ends");
            row("writing", &seen_by, &latency.gaps);
        }
    }
    text.push_str(
        "\nThe host's figure includes the guest's freeze hook before the freeze and after the thaw;\n\
         the writer's includes its pause of 5 ms and one ordinary write.\n",
    );
    text
}

fn criteria(idle: &Samples) -> String {
    let line = |what: &str, found: Option<u64>, wanted: u64| {
        let verdict = match found {
            Some(found) if found < wanted => "met",
            Some(_) => "missed",
            None => "not measured",
        };
        format!(
            "- {what} below {} ms: {verdict} ({} ms)\n",
            millis(Some(wanted)),
            millis(found)
        )
    };
    format!(
        "## Wanted: idle guest, seen from the host\n\n{}{}",
        line("median", idle.quantile(50), WANTED_MEDIAN),
        line("worst", idle.worst(), WANTED_WORST)
    )
}

fn latency_section(inside: &Latencies, outside: &Latencies) -> String {
    let mut text = "## Time of a write, ms\n\nUpper bounds: the writers count in powers of two, QEMU in steps \
                    of a quarter. The worst of a\nwriter is exact.\n\n\
                    | phase | seen by | writes | p50 | p99 | worst |\n\
                    | --- | --- | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for phase in [
        Phase::Before,
        Phase::Snapshot,
        Phase::Transfer,
        Phase::After,
    ] {
        let rows = |all: &Latencies, kind: &str| {
            let of_phase = all.iter().filter(|((of, _), _)| *of == phase);
            of_phase.fold(String::new(), |mut rows, ((_, what), latency)| {
                let times = &latency.times;
                let worst = latency.worst.worst().or(times.quantile(100));
                let [p50, p99] = [50, 99].map(|percent| millis(times.quantile(percent)));
                writeln!(
                    rows,
                    "| {} | {kind} {what} | {} | {p50} | {p99} | {} |",
                    name(phase),
                    times.count(),
                    millis(worst)
                )
                .ok();
                rows
            })
        };
        text.push_str(&rows(inside, "writer on"));
        text.push_str(&rows(outside, "QEMU, device"));
    }
    text
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Before => "before the backup",
        Phase::Snapshot => "until the snapshot is taken",
        Phase::Transfer => "transfer to the vault",
        Phase::After => "after the backup",
    }
}

fn failures(failures: &[String]) -> String {
    if failures.is_empty() {
        return "## Failures\n\nNone: every backup succeeded, and after each the guest ran, was thawed, had \
                met no I/O error,\nand nothing of ours was left in QEMU.\n"
            .to_owned();
    }
    let list: String = failures
        .iter()
        .map(|failure| format!("- {}\n", failure.replace('\n', "\n  ")))
        .collect();
    format!("## Failures\n\n{list}")
}
