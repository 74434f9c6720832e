//! Calendar expressions next to `systemd-analyze calendar`, in large numbers.
//!
//! The comparison is `crates/policy/tests/systemd.rs`: this only runs it from another seed and counts.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{
    Options,
    report::{publish, today},
};
use crate::{
    process::{capture, tool},
    term::say,
    workspace,
};

/// What the test said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    broken: Vec<String>,
    /// How often the two differ in a way that is known.
    differences: BTreeMap<String, u64>,
    done: Option<u64>,
}

impl Outcome {
    fn hear(&mut self, line: &str) {
        // The test harness may have begun the line.
        let said = |word: &str| line.split_once(word).map(|(_, rest)| rest);
        if let Some(broken) = said("BROKEN ") {
            say(line);
            self.broken.push(broken.to_owned());
        } else if let Some((name, count)) = said("DIFFERS ").and_then(|rest| rest.split_once(' ')) {
            let count = count.parse().unwrap_or(0);
            self.differences.insert(name.to_owned(), count);
        } else if let Some(done) = said("DONE ") {
            let runs = done.split(' ').next();
            self.done = runs.and_then(|runs| runs.parse().ok());
        }
    }
}

/// Runs the soak, prints and leaves its report.
pub(super) fn run(options: &Options) -> Result<()> {
    let mut test = Command::new(env!("CARGO"))
        .args(["test", "-p", "tresor-policy", "--test", "systemd"])
        .args(["--", "--nocapture"])
        .env("TRESOR_SOAK_RUNS", options.runs.to_string())
        .env("TRESOR_SOAK_SEED", options.seed.to_string())
        .current_dir(workspace::root()?)
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo test does not start")?;
    let mut outcome = Outcome::default();
    if let Some(stdout) = test.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            outcome.hear(&line?);
        }
    }
    let status = test.wait()?;
    publish(options, &text(options, &systemd()?, &outcome))?;
    if !status.success() || outcome.done != Some(options.runs) || !outcome.broken.is_empty() {
        bail!("the soak failed ({status}): see the report");
    }
    Ok(())
}

/// The version that was compared with.
fn systemd() -> Result<String> {
    let text = capture(tool("systemd-analyze").arg("--version"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn text(options: &Options, systemd: &str, outcome: &Outcome) -> String {
    let Options { runs, seed, .. } = options;
    let done = outcome.done.unwrap_or(0);
    let verdict = match (outcome.broken.len(), done == *runs) {
        (0, true) => "Nothing differs but what is known.".to_owned(),
        (0, false) => "The soak did not reach its end.".to_owned(),
        (broken, _) => format!("**{broken} expressions differ:**"),
    };
    let mut text = format!(
        "# Soak: calendar expressions, {}\n\n`cargo xtask soak calendar --runs {runs} --seed {seed}`\n\n\
         Each run is an expression from a seed, a zone, and a moment that mostly lies around a change of\n\
         the zone's clock; {systemd} is asked for its normal form and its next 12 moments. What may\n\
         differ, and where exactly, is `Difference` in `crates/policy/tests/systemd.rs`.\n\n\
         {done} of {runs} runs, seeds from {seed} on. {verdict}\n\n",
        today()
    );
    for broken in &outcome.broken {
        text.push_str(&format!("- {broken}\n"));
    }
    text.push_str("| known difference | times |\n|---|---|\n");
    for (name, count) in &outcome.differences {
        text.push_str(&format!("| {name} | {count} |\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_test_says_is_heard() {
        let mut outcome = Outcome::default();
        for line in [
            "running 1 test",
            "test expressions ... BROKEN seed 7: `x`",
            "DIFFERS MadeUp 12",
            "DONE 600 1",
        ] {
            outcome.hear(line);
        }
        assert_eq!(outcome.done, Some(600));
        assert_eq!(outcome.broken, ["seed 7: `x`"]);
        assert_eq!(outcome.differences["MadeUp"], 12);
    }
}
