//! Options: `--name value`, and `--flag` without one.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::report::Failure;

/// The options after the verb.
pub(crate) struct Args {
    values: BTreeMap<String, String>,
}

/// Options that stand alone.
const FLAGS: &[&str] = &["delete"];

impl Args {
    pub(crate) fn parse(words: &[String]) -> Result<Self, Failure> {
        let mut values = BTreeMap::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else {
                return Err(Failure::usage(&format!("unexpected word {word:?}")));
            };
            let value = if FLAGS.contains(&name) {
                String::new()
            } else {
                words
                    .next()
                    .ok_or_else(|| Failure::usage(&format!("--{name} needs a value")))?
                    .clone()
            };
            values.insert(name.to_owned(), value);
        }
        Ok(Self { values })
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(crate) fn path(&self, name: &str) -> Result<PathBuf, Failure> {
        self.text(name)
            .map(PathBuf::from)
            .ok_or_else(|| Failure::usage(&format!("--{name} is missing")))
    }

    pub(crate) fn number(&self, name: &str, default: u64) -> Result<u64, Failure> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| Failure::usage(&format!("--{name} {text:?} is no number"))),
        }
    }

    pub(crate) fn millis(&self, name: &str, default: u64) -> Result<Duration, Failure> {
        self.number(name, default).map(Duration::from_millis)
    }

    /// How many rounds to do; without `--count`, until killed.
    pub(crate) fn rounds(&self) -> Result<u64, Failure> {
        self.number("count", u64::MAX)
    }
}
