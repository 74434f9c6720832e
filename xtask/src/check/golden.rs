//! Golden files are what programs that were released wrote: none is ever edited or removed.
//!
//! `docs/format/golden.txt` holds a checksum for each. `check --write` adds lines for files that are
//! new, and never changes or takes away one.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

const RECORD: &str = "docs/format/golden.txt";

type Sums = BTreeMap<String, String>;

pub(super) fn complaints(root: &Path) -> Result<Vec<String>> {
    Ok(judge(&recorded(root), &present(root)?))
}

fn judge(recorded: &Sums, present: &Sums) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, hash) in recorded {
        match present.get(path) {
            Some(now) if now == hash => {}
            Some(_) => complaints.push(format!(
                "{path} was edited: bring it back, and add a new file for a new version"
            )),
            None => complaints.push(format!("{path} was removed: bring it back")),
        }
    }
    let new = present.keys().filter(|path| !recorded.contains_key(*path));
    complaints.extend(new.map(|path| format!("{path} is new: run `cargo xtask check --write`")));
    complaints
}

pub(super) fn write(root: &Path) -> Result<()> {
    let mut sums = present(root)?;
    sums.extend(recorded(root));
    let lines = sums.iter().map(|(path, hash)| format!("{hash}  {path}\n"));
    fs::write(root.join(RECORD), lines.collect::<String>())?;
    Ok(())
}

fn recorded(root: &Path) -> Sums {
    let text = fs::read_to_string(root.join(RECORD)).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(hash, path)| (path.to_owned(), hash.to_owned()))
        .collect()
}

/// Every file below a `testdata/vN` of a crate.
fn present(root: &Path) -> Result<Sums> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let data = entry?.path().join("testdata");
        if !data.is_dir() {
            continue;
        }
        for version in fs::read_dir(data)? {
            let version = version?;
            let name = version.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix('v'));
            if number.is_some_and(|number| number.parse::<u32>().is_ok()) {
                all_files(&version.path(), &mut files)?;
            }
        }
    }
    let mut sums = Sums::new();
    for file in files {
        let hash = blake3::hash(&fs::read(&file)?).to_hex()[..32].to_owned();
        let path = file.strip_prefix(root)?.display().to_string();
        sums.insert(path, hash);
    }
    Ok(sums)
}

fn all_files(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            all_files(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_golden_file_stays_a_complaint() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("crates/vault/testdata/v1/deep");
        fs::create_dir_all(&dir).unwrap();
        fs::create_dir_all(root.path().join("docs/format")).unwrap();
        fs::write(dir.join("a"), "1").unwrap();
        assert_eq!(complaints(root.path()).unwrap().len(), 1);
        write(root.path()).unwrap();
        assert!(complaints(root.path()).unwrap().is_empty());
        fs::write(dir.join("a"), "2").unwrap();
        write(root.path()).unwrap();
        assert!(complaints(root.path()).unwrap()[0].contains("was edited"));
        fs::remove_file(dir.join("a")).unwrap();
        write(root.path()).unwrap();
        assert!(complaints(root.path()).unwrap()[0].contains("was removed"));
    }
}
