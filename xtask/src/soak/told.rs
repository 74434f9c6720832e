//! A soak that is a test of the suite: run from another seed, and listened to.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow};

use super::Options;
use crate::{term::say, workspace};

/// What the test said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// What did not hold.
    pub(super) broken: Vec<String>,
    /// How many runs there were, at the end.
    pub(super) done: Option<u64>,
    /// Lines of the soak's own, by their first word.
    pub(super) others: Vec<(&'static str, String)>,
}

impl Told {
    /// Takes in a line; `own` are the first words of the soak's own lines.
    pub(super) fn hear(&mut self, line: &str, own: &[&'static str]) {
        // The test harness may have begun the line.
        let said = |word: &str| line.split_once(word).map(|(_, rest)| rest);
        if let Some(broken) = said("BROKEN ") {
            say(line);
            self.broken.push(broken.to_owned());
        } else if let Some(runs) = said("RUNS ") {
            say(&format!("soak: {runs} runs"));
        } else if let Some(done) = said("DONE ") {
            let runs = done.split(' ').next();
            self.done = runs.and_then(|runs| runs.parse().ok());
        } else if let Some((word, rest)) = own.iter().find_map(|word| Some((*word, said(word)?))) {
            self.others.push((word, rest.trim().to_owned()));
        }
    }

    /// What a report says of it: nothing broke, or it did not end, or what broke.
    pub(super) fn verdict(&self, runs: u64, nothing: &str, some: &str) -> String {
        match (self.broken.len(), self.done == Some(runs)) {
            (0, true) => nothing.to_owned(),
            (0, false) => "The soak did not reach its end.".to_owned(),
            (broken, _) => format!("**{broken} {some}:**"),
        }
    }

    /// A list of what broke, a line each.
    pub(super) fn broken_lines(&self) -> String {
        let lines = self.broken.iter().map(|broken| format!("- {broken}\n"));
        lines.collect()
    }
}

/// Runs `cargo test` with these arguments; gives what it said, and whether all of it held.
pub(super) fn listen(
    options: &Options,
    arguments: &[&str],
    own: &[&'static str],
) -> Result<(Told, Result<()>)> {
    let mut test = Command::new(env!("CARGO"))
        .arg("test")
        .args(arguments)
        .env("TRESOR_SOAK_RUNS", options.runs.to_string())
        .env("TRESOR_SOAK_SEED", options.seed.to_string())
        .current_dir(workspace::root()?)
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo test does not start")?;
    let mut told = Told::default();
    if let Some(stdout) = test.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            told.hear(&line?, own);
        }
    }
    let status = test.wait()?;
    let whole = status.success() && told.done == Some(options.runs) && told.broken.is_empty();
    let held = match whole {
        true => Ok(()),
        false => Err(anyhow!("the soak failed ({status}): see the report")),
    };
    Ok((told, held))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_test_says_is_heard() {
        let mut told = Told::default();
        for line in [
            "running 1 test",
            "test simulation::soak::soak ... RUNS 500",
            "BROKEN history 7: a point dangles",
            "DIFFERS MadeUp 12",
            "OTHER word",
            "DONE 600 1",
        ] {
            told.hear(line, &["DIFFERS "]);
        }
        assert_eq!(told.done, Some(600));
        assert_eq!(told.broken, ["history 7: a point dangles"]);
        assert_eq!(told.others, [("DIFFERS ", "MadeUp 12".to_owned())]);
        assert_eq!(told.broken_lines(), "- history 7: a point dangles\n");
        assert_eq!(told.verdict(600, "good", "broke"), "**1 broke:**");
        told.broken.clear();
        assert_eq!(told.verdict(600, "good", "broke"), "good");
        assert!(told.verdict(601, "good", "broke").contains("its end"));
    }
}
