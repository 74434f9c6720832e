//! The vault's protocol on simulated disks, in large numbers.
//!
//! The histories are those of `crates/vault/src/simulation`: this only runs them from another seed
//! and counts.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::{
    Options,
    report::{publish, today},
};
use crate::{term::say, workspace};

/// What the test said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    broken: Vec<String>,
    done: Option<u64>,
}

impl Outcome {
    fn hear(&mut self, line: &str) {
        // The test harness may have begun the line.
        let said = |word: &str| line.split_once(word).map(|(_, rest)| rest);
        if let Some(broken) = said("BROKEN ") {
            say(line);
            self.broken.push(broken.to_owned());
        } else if let Some(runs) = said("RUNS ") {
            say(&format!("soak vault: {runs} runs"));
        } else if let Some(done) = said("DONE ") {
            let runs = done.split(' ').next();
            self.done = runs.and_then(|runs| runs.parse().ok());
        }
    }
}

/// Runs the soak, prints and leaves its report.
pub(super) fn run(options: &Options) -> Result<()> {
    let mut test = Command::new(env!("CARGO"))
        .args(["test", "-p", "tresor-vault", "--lib", "simulation::soak"])
        .args(["--", "--ignored", "--nocapture"])
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
    publish(options, &text(options, &outcome))?;
    if !status.success() || outcome.done != Some(options.runs) || !outcome.broken.is_empty() {
        bail!("the soak failed ({status}): see the report");
    }
    Ok(())
}

fn text(options: &Options, outcome: &Outcome) -> String {
    let Options { runs, seed, .. } = options;
    let done = outcome.done.unwrap_or(0);
    let verdict = match (outcome.broken.len(), done == *runs) {
        (0, true) => "No invariant broke.".to_owned(),
        (0, false) => "The soak did not reach its end.".to_owned(),
        (broken, _) => format!("**{broken} histories broke an invariant:**"),
    };
    let mut text = format!(
        "# Soak: the vault's protocol, {}\n\n`cargo xtask soak vault --runs {runs} --seed {seed}`\n\n\
         Each run is a history on a simulated disk: backups, expiry and collects in quiet; then two\n\
         writers, two collectors, an expiry, an abort and a restore at once, each with its own fate\n\
         (power cut, kill, failing operation or full disk at any change, or none); then a writer and\n\
         a collector that find what was left; a power cut; a check; collects until the vault rests; a\n\
         backup, a collect, a power cut and a check. The first runs also do one history for each\n\
         moment of a killed writer and of a collector that is killed while a writer sleeps, and some\n\
         of writers and collectors that meet a collect. What is checked is listed in `crates/vault/src/simulation/mod.rs`.\n\n\
         {done} of {runs} runs, seeds from {seed} on. {verdict}\n",
        today()
    );
    for broken in &outcome.broken {
        text.push_str(&format!("- {broken}\n"));
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
            "test simulation::soak::soak ... RUNS 500",
            "BROKEN history 7: a point dangles",
            "DONE 600 1",
        ] {
            outcome.hear(line);
        }
        assert_eq!(outcome.done, Some(600));
        assert_eq!(outcome.broken, ["history 7: a point dangles"]);
    }
}
