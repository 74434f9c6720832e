//! Calendar expressions next to `systemd-analyze calendar`, in large numbers.
//!
//! The comparison is `crates/policy/tests/systemd.rs`: this only runs it from another seed and counts.

use anyhow::Result;

use super::{
    Options,
    report::{publish, today},
    told::{Told, listen},
};
use crate::process::{capture, tool};

const TEST: [&str; 6] = [
    "-p",
    "tresor-policy",
    "--test",
    "systemd",
    "--",
    "--nocapture",
];
/// How often the two differ in a way that is known: its name, and a count.
const DIFFERS: &str = "DIFFERS ";

/// Runs the soak, prints and leaves its report.
pub(super) fn run(options: &Options) -> Result<()> {
    let (told, held) = listen(options, &TEST, &[DIFFERS])?;
    publish(options, &text(options, &systemd()?, &told))?;
    held
}

/// The version that was compared with.
fn systemd() -> Result<String> {
    let text = capture(tool("systemd-analyze").arg("--version"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn text(options: &Options, systemd: &str, told: &Told) -> String {
    let Options { runs, seed, .. } = options;
    let done = told.done.unwrap_or(0);
    let verdict = told.verdict(
        *runs,
        "Nothing differs but what is known.",
        "expressions differ",
    );
    let mut text = format!(
        "# Soak: calendar expressions, {}\n\n`cargo xtask soak calendar --runs {runs} --seed {seed}`\n\n\
         Each run is an expression from a seed, a zone, and a moment that mostly lies around a change of\n\
         the zone's clock; {systemd} is asked for its normal form and its next 12 moments. What may\n\
         differ, and where exactly, is `Difference` in `crates/policy/tests/systemd.rs`.\n\n\
         {done} of {runs} runs, seeds from {seed} on. {verdict}\n\n",
        today()
    );
    text.push_str(&told.broken_lines());
    text.push_str("| known difference | times |\n|---|---|\n");
    for (_, counted) in &told.others {
        let (name, count) = counted.split_once(' ').unwrap_or((counted, "?"));
        text.push_str(&format!("| {name} | {count} |\n"));
    }
    text
}
