//! The real directory: its layout, and things in it that are not ours.
#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tresor_backend::{Backend, ErrorKind, LocalBackend, ObjectName};

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn kind<T>(outcome: Result<T, tresor_backend::Error>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind())
}

#[tokio::test]
async fn objects_are_plain_private_files() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("vault");
    let backend = LocalBackend::create(&root).await.unwrap();
    let body = Bytes::from_static(b"body");
    backend.put(&name("packs/0a/x"), body).await.unwrap();
    assert_eq!(std::fs::read(root.join("packs/0a/x")).unwrap(), b"body");
    assert_eq!(mode(&root.join("packs/0a/x")), 0o600);
    for made in ["", "packs", "packs/0a", ".tmp"] {
        assert_eq!(mode(&root.join(made)), 0o700, "{made}");
    }
    assert_eq!(std::fs::read_dir(root.join(".tmp")).unwrap().count(), 0);
    assert_eq!(
        kind(LocalBackend::open(&root.join("no")).await),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(
        kind(LocalBackend::create(&root.join("no/no")).await),
        Some(ErrorKind::NotFound)
    );
}

#[tokio::test]
async fn foreign_things_are_neither_listed_nor_followed_nor_removed() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let backend = LocalBackend::open(root).await.unwrap();
    backend
        .put(&name("real/x"), Bytes::from_static(b"x"))
        .await
        .unwrap();
    symlink(outside.path().join("secret"), root.join("link")).unwrap();
    symlink(outside.path(), root.join("linkdir")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    std::fs::write(root.join("UPPER"), "").unwrap();
    std::fs::write(root.join(".hidden"), "").unwrap();
    std::fs::write(root.join(".tmp/foreign"), "").unwrap();
    std::fs::write(root.join("real/new\nline"), "").unwrap();

    let listed = backend.list("").await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(backend.list("linkdir/").await.unwrap(), []);
    for foreign in ["link", "linkdir", "linkdir/secret", "pipe", "real"] {
        let missing = Some(ErrorKind::NotFound);
        assert_eq!(
            kind(backend.get(&name(foreign), 99).await),
            missing,
            "{foreign}"
        );
        assert_eq!(
            kind(backend.stat(&name(foreign)).await),
            missing,
            "{foreign}"
        );
        let put = backend.put(&name(foreign), Bytes::new()).await;
        assert_eq!(kind(put), Some(ErrorKind::Unfit), "{foreign}");
    }
    for foreign in ["link", "linkdir", "pipe", "real"] {
        backend.delete(&name(foreign)).await.unwrap();
    }
    assert_eq!(backend.sweep(Duration::ZERO).await.unwrap(), 0);
    for there in [
        "link",
        "linkdir",
        "pipe",
        "UPPER",
        ".hidden",
        ".tmp/foreign",
        "real/x",
    ] {
        assert!(root.join(there).symlink_metadata().is_ok(), "{there}");
    }
    assert!(outside.path().join("secret").exists());
}

#[tokio::test]
async fn leftovers_are_swept_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let backend = LocalBackend::open(dir.path()).await.unwrap();
    backend.put(&name("a"), Bytes::new()).await.unwrap();
    std::fs::write(dir.path().join(".tmp/put-dead"), "half").unwrap();
    assert_eq!(backend.sweep(Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(backend.sweep(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(
        std::fs::read_dir(dir.path().join(".tmp")).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn a_directory_that_was_tidied_away_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let backend = LocalBackend::open(dir.path()).await.unwrap();
    backend.put(&name("a/b/c"), Bytes::new()).await.unwrap();
    std::fs::remove_dir_all(dir.path().join("a")).unwrap();
    backend.put(&name("a/b/d"), Bytes::new()).await.unwrap();
    assert_eq!(backend.list("").await.unwrap().len(), 1);
}
