//! What was checked, and how it came out.

use anyhow::Result;

use crate::term::say;

/// The checks so far.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    results: Vec<(String, Option<String>)>,
}

impl Checks {
    /// Notes a check: `Ok` with what was seen, or why it failed.
    pub(crate) fn note(&mut self, what: &str, result: Result<String>) {
        match result {
            Ok(seen) => {
                say(&format!("passed: {what} ({})", seen.trim()));
                self.results.push((what.to_owned(), None));
            }
            Err(error) => {
                let why = format!("{error:#}");
                say(&format!("FAILED: {what}: {why}"));
                self.results.push((what.to_owned(), Some(why)));
            }
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.results.len()
    }

    pub(crate) fn failed(&self) -> usize {
        self.results
            .iter()
            .filter(|(_, failure)| failure.is_some())
            .count()
    }

    /// What was checked, and whether it passed.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, bool)> {
        self.results
            .iter()
            .map(|(what, failure)| (what.as_str(), failure.is_none()))
    }
}
