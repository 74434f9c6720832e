//! The tests that docs/bad-input.md names are there, in the files that it names.

use std::{fs, path::Path};

use anyhow::{Context, Result};

const PAGE: &str = "docs/bad-input.md";

pub(super) fn complaints(root: &Path) -> Result<Vec<String>> {
    let page =
        fs::read_to_string(root.join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    let mut complaints = Vec::new();
    for row in page.lines().filter(|line| line.starts_with('|')) {
        let named = named(row);
        if named.is_empty() && !row.starts_with("|---") && !row.contains("| shown by |") {
            complaints.push(format!("{PAGE}: a row names no test: {row}"));
        }
        for (test, file) in named {
            let source = fs::read_to_string(root.join(&file)).unwrap_or_default();
            if !source.contains(&format!("fn {test}(")) {
                complaints.push(format!("{PAGE}: there is no test {test} in {file}"));
            }
        }
    }
    Ok(complaints)
}

/// The tests of a row with their files: "`one`, `two` in FILE, `three` in FILE".
fn named(row: &str) -> Vec<(String, String)> {
    let cell = row.trim_end_matches('|').rsplit('|').next();
    let (mut named, mut tests) = (Vec::new(), Vec::new());
    let mut words = cell.unwrap_or_default().split_whitespace();
    while let Some(word) = words.next() {
        let word = word.trim_end_matches([',', ';']);
        let quoted = word
            .strip_prefix('`')
            .and_then(|word| word.strip_suffix('`'));
        match quoted {
            Some(test) => tests.push(test.to_owned()),
            None if word == "in" && !tests.is_empty() => {
                let file = words
                    .next()
                    .unwrap_or_default()
                    .trim_end_matches([',', ';']);
                let found = tests.drain(..);
                named.extend(found.map(|test| (test, file.to_owned())));
            }
            None => {}
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_read_with_their_files() {
        let row = "| what | `Problem` | `one`, `two` in a/b.rs, `three` in c.rs; also `cargo xtask soak x` |";
        let named = named(row);
        let named: Vec<(&str, &str)> = named
            .iter()
            .map(|(test, file)| (test.as_str(), file.as_str()))
            .collect();
        assert_eq!(
            named,
            [("one", "a/b.rs"), ("two", "a/b.rs"), ("three", "c.rs")]
        );
        assert!(super::named("| what | happens | no test in x.rs |").is_empty());
    }
}
