//! `docs/problems/` is made from the catalog of problems, and current.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use tresor_problem::{Kind, index_page, page};

const DIR: &str = "docs/problems";

/// Every page that must be there.
fn pages() -> BTreeMap<String, String> {
    let mut pages: BTreeMap<_, _> = Kind::ENTRIES
        .iter()
        .map(|entry| (format!("{}.md", entry.code), page(entry)))
        .collect();
    pages.insert("README.md".to_owned(), index_page());
    pages
}

pub(super) fn complaints(root: &Path) -> Result<Vec<String>> {
    let dir = root.join(DIR);
    let pages = pages();
    let mut complaints = Vec::new();
    for (name, text) in &pages {
        if fs::read_to_string(dir.join(name)).ok().as_ref() != Some(text) {
            complaints.push(format!(
                "{DIR}/{name} is not current: run `cargo xtask check --write`"
            ));
        }
    }
    for path in stale(&dir, &pages)? {
        complaints.push(format!("{} is of no problem any more", path.display()));
    }
    Ok(complaints)
}

pub(super) fn write(root: &Path) -> Result<()> {
    let dir = root.join(DIR);
    let pages = pages();
    fs::create_dir_all(&dir)?;
    for (name, text) in &pages {
        fs::write(dir.join(name), text)?;
    }
    for path in stale(&dir, &pages)? {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn stale(dir: &Path, pages: &BTreeMap<String, String>) -> Result<Vec<PathBuf>> {
    let mut stale = Vec::new();
    if dir.is_dir() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if !pages.contains_key(entry.file_name().to_string_lossy().as_ref()) {
                stale.push(entry.path());
            }
        }
    }
    Ok(stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_current_and_a_changed_page_is_not() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(complaints(root.path()).unwrap().len(), pages().len());
        write(root.path()).unwrap();
        assert!(complaints(root.path()).unwrap().is_empty());
        fs::write(root.path().join(DIR).join("README.md"), "x").unwrap();
        fs::write(root.path().join(DIR).join("gone.md"), "x").unwrap();
        assert_eq!(complaints(root.path()).unwrap().len(), 2);
    }
}
