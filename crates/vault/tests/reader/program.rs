//! Running the reader, and comparing what it restores with our own restore.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tresor_vault::Vault;

use crate::support::read_all;

/// A key that opens a vault: the reader's option and its value.
#[derive(Clone)]
pub(crate) struct Key(pub(crate) &'static str, pub(crate) String);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn run(vault: &Path, key: &Key, rest: &[&str]) -> Output {
    let python = repository().join("target/python/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run `cargo xtask setup` once",
        python.display()
    );
    Command::new(python)
        .arg("-I")
        .arg(repository().join("docs/format/reader.py"))
        .arg(vault)
        .args([key.0, &key.1])
        .args(rest)
        .output()
        .unwrap()
}

/// What it prints; it must succeed.
pub(crate) fn says(vault: &Path, key: &Key, rest: &[&str]) -> String {
    let output = run(vault, key, rest);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{rest:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Compares every stream of every point that both list; gives how many points and streams.
pub(crate) async fn both_read_alike(dir: &Path, key: &Key, vault: &Vault) -> (usize, usize) {
    let place = tempfile::tempdir().unwrap();
    let listed = says(dir, key, &["list"]);
    let points = vault.points().await.unwrap().points;
    assert_eq!(listed.lines().count(), points.len(), "{listed}");
    let mut streams = 0;
    for summary in &points {
        let (id, point) = (
            summary.id.to_string(),
            vault.point(summary.id).await.unwrap(),
        );
        let disks = point.disks.iter().map(|disk| &disk.stream);
        for stream in disks.chain(&point.attachments) {
            let (out, name) = (place.path().join(streams.to_string()), stream.name.as_str());
            let ours = read_all(vault, stream).await.unwrap();
            says(dir, key, &["restore", &id, name, out.to_str().unwrap()]);
            assert!(std::fs::read(&out).unwrap() == ours, "{id} {name}");
            streams += 1;
        }
    }
    (points.len(), streams)
}
