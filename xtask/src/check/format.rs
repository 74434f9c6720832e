//! The vault's format is documented byte by byte: a source of it does not change without somebody
//! having looked at the documents.
//!
//! `docs/format/sources.txt` holds a checksum for each source, as it was when the documents were
//! last read against it. `check --write` says "I did that".

use std::{fs, path::Path};

use anyhow::Result;

use super::length::sources;

const SOURCES: &str = "crates/vault-format/src";
const RECORD: &str = "docs/format/sources.txt";

pub(super) fn complaints(root: &Path) -> Result<Vec<String>> {
    let now = record(root)?;
    let then = fs::read_to_string(root.join(RECORD)).unwrap_or_default();
    Ok(now
        .lines()
        .filter(|line| !then.lines().any(|old| old == *line))
        .filter_map(|line| line.split_once("  "))
        .map(|(_, path)| {
            format!(
                "{path} has changed: read docs/format/ against it, correct it, \
                 then run `cargo xtask check --write`"
            )
        })
        .collect())
}

pub(super) fn write(root: &Path) -> Result<()> {
    let path = root.join(RECORD);
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(path, record(root)?)?;
    Ok(())
}

/// `CHECKSUM  PATH` for each source, in order. What is only tests is left out.
fn record(root: &Path) -> Result<String> {
    let mut files = Vec::new();
    sources(&root.join(SOURCES), &mut files)?;
    files.sort();
    let mut text = String::new();
    for file in files {
        let hash = blake3::hash(&fs::read(&file)?).to_hex();
        let shown = file.strip_prefix(root).unwrap_or(&file).display();
        text.push_str(&format!("{}  {shown}\n", &hash[..32]));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_source_is_named() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join(SOURCES);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("pack.rs"), "1").unwrap();
        assert_eq!(complaints(root.path()).unwrap().len(), 1);
        write(root.path()).unwrap();
        assert!(complaints(root.path()).unwrap().is_empty());
        fs::write(dir.join("pack.rs"), "2").unwrap();
        let complaints = complaints(root.path()).unwrap();
        assert!(complaints[0].starts_with("crates/vault-format/src/pack.rs"));
    }
}
