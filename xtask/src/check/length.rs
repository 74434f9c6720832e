//! No file of more than 600 lines, tests apart: a file has one responsibility.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

const MAX_LINES: usize = 600;

/// Tables, with a row for each of what they list: as long as that.
const TABLES: [&str; 1] = ["crates/problem/src/catalog.rs"];

pub(super) fn complaints(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        sources(&entry?.path().join("src"), &mut files)?;
    }
    sources(&root.join("xtask/src"), &mut files)?;
    files.sort();
    let mut complaints = Vec::new();
    for file in files {
        let lines = without_tests(&fs::read_to_string(&file)?);
        let file = file.strip_prefix(root).unwrap_or(&file);
        if lines > MAX_LINES && !TABLES.iter().any(|table| file == Path::new(table)) {
            let file = file.display();
            complaints.push(format!(
                "{file} has {lines} lines without its tests, more than {MAX_LINES}: split it"
            ));
        }
    }
    Ok(complaints)
}

pub(super) fn sources(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|end| end == "rs") && !is_test(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_test(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs")
        || path.components().any(|part| part.as_os_str() == "tests")
}

/// The lines before the test module, which is the last thing in a file.
fn without_tests(text: &str) -> usize {
    text.lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_do_not_count() {
        assert_eq!(without_tests("a\nb\n#[cfg(test)]\nmod tests {}\n"), 2);
        assert_eq!(without_tests("a\nb\n"), 2);
    }
}
