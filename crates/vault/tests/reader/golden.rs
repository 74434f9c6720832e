//! The golden vault of version 1: made once, never edited; what is in it is known by hash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tresor_backend::{Backend, LocalBackend};
use tresor_model::Extent;
use tresor_vault::{CreateOptions, KeyMaterial, Vault};

use crate::program::{self, Key};
use crate::support::{CHUNK, begin, key, name, point, read_all};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v1")
}

/// Bytes that compress well and differ by `seed`, so that the golden vault stays small.
fn pattern(seed: u8, chunks: u64) -> Bytes {
    let words = (0..chunks * CHUNK / 8).map(|at| (at / 512) << 8 | u64::from(seed));
    words.flat_map(u64::to_le_bytes).collect::<Vec<_>>().into()
}

/// Makes the golden vault. Two points share nodes; one has a disk of zeros and one of an odd size;
/// one point has expired, one session was aborted.
async fn make(to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let backend: Arc<dyn Backend> =
        Arc::new(LocalBackend::create(&to.join("vault")).await.unwrap());
    let (vault, recovery) = Vault::create(backend, CreateOptions::new(key()))
        .await
        .unwrap();
    let phrase = KeyMaterial::Passphrase("correct horse".to_owned().into());
    vault.add_key_slot(&phrase, "alice").await.unwrap();
    std::fs::write(to.join("key-file"), b"0123456789abcdef0123456789abcdef").unwrap();
    std::fs::write(to.join("passphrase"), "correct horse\n").unwrap();
    std::fs::write(to.join("recovery-key"), recovery.to_text().as_str()).unwrap();

    let size = 300 << 20;
    let mut base = None;
    for round in 0..3_u8 {
        let session = begin(&vault).await;
        let mut disk = session
            .stream(name("vda"), size, base.as_ref())
            .await
            .unwrap();
        if round == 0 {
            disk.write(0, pattern(1, 20)).await.unwrap();
            disk.write(270 << 20, pattern(2, 5)).await.unwrap();
        } else {
            let zeros = Extent::between(CHUNK, 2 * CHUNK);
            disk.zero(zeros).await.unwrap();
            let at = u64::from(round) << 20;
            disk.write(at, pattern(2 + round, 2)).await.unwrap();
        }
        let (disk, _) = disk.finish().await.unwrap();
        base = Some(disk.clone());
        let zeros = session.stream(name("vdb"), 8 << 20, None).await.unwrap();
        let (zeros, _) = zeros.finish().await.unwrap();
        let mut odd = session
            .stream(name("nvram"), CHUNK + 777, None)
            .await
            .unwrap();
        odd.write(0, pattern(round, 2).slice(..CHUNK as usize + 777))
            .await
            .unwrap();
        let (odd, _) = odd.finish().await.unwrap();
        let mut point = point(session.id(), vec![disk, zeros]);
        point.attachments = vec![odd];
        let id = session.commit(point).await.unwrap();
        if round == 1 {
            vault.expire(id).await.unwrap();
        }
    }
    begin(&vault).await.abort().await.unwrap();
    std::fs::write(to.join("contents.txt"), contents(&vault).await).unwrap();
}

/// `HASH  STREAM SIZE` of every stream in every point, in the order of the list.
async fn contents(vault: &Vault) -> String {
    let mut lines = String::new();
    for summary in vault.points().await.unwrap().points {
        let point = vault.point(summary.id).await.unwrap();
        let disks = point.disks.iter().map(|disk| &disk.stream);
        for stream in disks.chain(&point.attachments) {
            let hash = blake3::hash(&read_all(vault, stream).await.unwrap()).to_hex();
            lines += &format!("{hash}  {} {}\n", stream.name.as_str(), stream.size);
        }
    }
    lines
}

/// A copy that may be written to: a vault's directory gets a place for temporary files.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Set `TRESOR_WRITE_GOLDEN` once to make it; what is there is never written again.
#[tokio::test(flavor = "multi_thread")]
async fn the_golden_vault_is_read_by_both_with_each_of_its_keys() {
    let golden = directory();
    if std::env::var_os("TRESOR_WRITE_GOLDEN").is_some() && !golden.exists() {
        make(&golden).await;
    }
    for kind in ["keys", "packs", "index", "sessions", "expired", "vault"] {
        assert!(golden.join("vault").join(kind).exists(), "{kind}");
    }
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("vault");
    copy(&golden.join("vault"), &dir);
    let file = |name: &str| golden.join(name).to_str().unwrap().to_owned();
    let text = |name: &str| std::fs::read_to_string(golden.join(name)).unwrap();
    let recovery = text("recovery-key");
    let phrase = text("passphrase").trim_end().to_owned();
    let keys = BTreeMap::from([
        ("key file", (key(), Key("--key-file", file("key-file")))),
        (
            "recovery key in a file",
            (
                KeyMaterial::KeyFile(recovery.clone().into_bytes().into()),
                Key("--key-file", file("recovery-key")),
            ),
        ),
        (
            "recovery key",
            (
                KeyMaterial::Recovery(recovery.clone().into()),
                Key("--recovery-key", recovery.to_lowercase().replace('-', " ")),
            ),
        ),
        (
            "passphrase",
            (
                KeyMaterial::Passphrase(phrase.into()),
                Key("--passphrase-file", file("passphrase")),
            ),
        ),
    ]);
    for (what, (ours, theirs)) in keys {
        let backend: Arc<dyn Backend> = Arc::new(LocalBackend::open(&dir).await.unwrap());
        let vault = Vault::open(backend, &ours).await.unwrap();
        if what == "key file" {
            assert_eq!(contents(&vault).await, text("contents.txt"));
            assert_eq!(
                program::both_read_alike(&dir, &theirs, &vault).await,
                (2, 6)
            );
            program::says(&dir, &theirs, &["verify"]);
        }
        assert_eq!(
            program::says(&dir, &theirs, &["list"]).lines().count(),
            2,
            "{what}"
        );
    }
}
