//! The vault's format is documented byte by byte: a source of it does not change without its
//! documents.
//!
//! `docs/format/sources.txt` holds a checksum for each source, and one for all pages together, as they
//! were when the pages were last read against the sources. `check --write` takes a changed source over
//! only when a page has changed as well. A change that moves no byte is said in `unchanged.md`, which is
//! a page.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::length::sources;

/// Directories and files that decide about bytes (or JSON) in a vault.
const SOURCES: &[&str] = &[
    "crates/catalog/src/dump",
    "crates/vault-format/src",
    "crates/model/src/consistency.rs",
    "crates/model/src/fact.rs",
    "crates/model/src/machine.rs",
    "crates/model/src/point.rs",
    "crates/model/src/tracking.rs",
    "crates/vault/src/known/table",
    "crates/vault/src/trust",
];
const PAGES: &str = "docs/format";
const RECORD: &str = "docs/format/sources.txt";
const ALL_PAGES: &str = "docs/format/*.md";

pub(super) fn complaints(root: &Path) -> Result<Vec<String>> {
    Ok(judge(&recorded(root), &present(root)?))
}

/// `CHECKSUM  PATH`, then and now.
fn judge(then: &[String], now: &[String]) -> Vec<String> {
    let of = |lines: &[String], path: &str| {
        let found = lines.iter().find(|line| line.ends_with(path));
        found.cloned()
    };
    let pages_changed = of(then, ALL_PAGES) != of(now, ALL_PAGES);
    let changed = now.iter().filter(|line| !then.contains(line));
    let gone = then.iter().filter(|line| {
        let path = path_of(line);
        now.iter().all(|line| path_of(line) != path)
    });
    let complaint = |line: &String| {
        let path = path_of(line);
        if path == ALL_PAGES || pages_changed {
            format!(
                "{path} has changed: read docs/format/ against its sources, then run `cargo xtask check --write`"
            )
        } else {
            format!(
                "{path} has changed and no page of docs/format/ has: correct the page, or say in \
                 docs/format/unchanged.md why no byte has moved; then run `cargo xtask check --write`"
            )
        }
    };
    changed.chain(gone).map(complaint).collect()
}

fn path_of(line: &str) -> &str {
    line.split_once("  ").map_or("", |(_, path)| path)
}

/// Takes the sources over, if the pages came along.
pub(super) fn write(root: &Path) -> Result<()> {
    let (then, now) = (recorded(root), present(root)?);
    let same_pages = now.last().is_some_and(|pages| then.contains(pages));
    if same_pages {
        return Ok(());
    }
    let path = root.join(RECORD);
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let lines = now.iter().map(|line| format!("{line}\n"));
    fs::write(path, lines.collect::<String>())?;
    Ok(())
}

fn recorded(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join(RECORD)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A line for each source in order, the last one for the pages. What is only tests is left out.
fn present(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for source in SOURCES.iter().map(|source| root.join(source)) {
        if source.is_file() {
            files.push(source);
        } else {
            sources(&source, &mut files)?;
        }
    }
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let path = file.strip_prefix(root)?.display().to_string();
        lines.push(line(&fs::read(&file)?, &path));
    }
    lines.push(line(&pages(root)?, ALL_PAGES));
    Ok(lines)
}

fn line(bytes: &[u8], path: &str) -> String {
    format!("{}  {path}", &blake3::hash(bytes).to_hex()[..32])
}

/// All pages, one behind another.
fn pages(root: &Path) -> Result<Vec<u8>> {
    let mut files: Vec<PathBuf> = match fs::read_dir(root.join(PAGES)) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()?,
        Err(_) => Vec::new(),
    };
    files.retain(|file| file.extension().is_some_and(|end| end == "md"));
    files.sort();
    let mut bytes = Vec::new();
    for file in files {
        bytes.extend(fs::read(file)?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_taken_over_only_with_a_page() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let (dir, page) = (root.join(SOURCES[0]), root.join(PAGES).join("pack.md"));
        fs::create_dir_all(&dir).unwrap();
        fs::create_dir_all(root.join(PAGES)).unwrap();
        fs::write(&page, "1").unwrap();
        fs::write(dir.join("pack.rs"), "1").unwrap();
        assert_eq!(complaints(root).unwrap().len(), 2);
        write(root).unwrap();
        assert!(complaints(root).unwrap().is_empty());
        fs::write(dir.join("pack.rs"), "2").unwrap();
        write(root).unwrap();
        let found = complaints(root).unwrap();
        assert!(
            found[0].starts_with(&format!("{}/pack.rs", SOURCES[0])),
            "{found:?}"
        );
        assert!(found[0].contains("no page"), "{found:?}");
        fs::write(&page, "2").unwrap();
        assert_eq!(complaints(root).unwrap().len(), 2);
        write(root).unwrap();
        assert!(complaints(root).unwrap().is_empty());
        fs::remove_file(dir.join("pack.rs")).unwrap();
        assert_eq!(complaints(root).unwrap().len(), 1);
    }
}
