//! A vault whose storage is full, fails, or goes away.

use std::{
    io::{ErrorKind, Write as _},
    path::Path,
};

use tresor_testkit::Guest;

use crate::{
    lab::{Lab, VM, assert_unharmed, finish},
    problems::{in_guest, tmpfs::Tmpfs},
    retention::{days, make_points},
    running::{Backup, HeldFreeze},
};

const DATA: &str = "tresor-workload churn --dir /data/big --mib 64 --file-mib 64 && sync";

/// A lab whose vault lies on a file system of its own.
async fn lab_on_tmpfs(guest: &Guest, mib: u32) -> (Lab, Tmpfs) {
    let mut lab = Lab::without_vault();
    let tmpfs = Tmpfs::mount(lab.vault(), mib).await;
    lab.create_vault().await;
    lab.register(guest).await.ok();
    (lab, tmpfs)
}

/// The remedy is what it says: with more space the same command goes through.
#[tokio::test]
async fn a_full_vault() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    in_guest(&guest, DATA).await;
    let (lab, tmpfs) = lab_on_tmpfs(&guest, 24).await;
    let problem = lab.run(&["backup", VM]).await.raises("VaultStorageFull");
    assert_eq!(
        problem["fields"]["location"],
        tmpfs.path().to_str().unwrap()
    );
    assert_unharmed(&guest).await;
    tmpfs.remount("size=1024m").await;
    lab.backup().await;
    lab.run(&["verify"]).await.ok();
}

/// Not a byte is free: what expired can go all the same, and what is kept stays whole.
#[tokio::test]
async fn a_full_vault_can_be_collected() {
    let mut lab = Lab::without_vault();
    let tmpfs = Tmpfs::mount(lab.vault(), 16).await;
    lab.create_vault().await;
    let points = make_points(&lab, "web01", &days(3)).await;
    let keep = ["expire", "web01", "--keep-last", "1"];
    let at_once = ["--grace", "0s", "--yes"];
    lab.run(&[&keep[..], &at_once].concat()).await.ok();
    fill(&tmpfs.path().join("filler"));
    let collected = lab.run(&["collect"]).await.ok();
    assert_eq!(collected["finished"], true, "{collected}");
    assert!(
        collected["collected"]["deleted_packs"].as_u64() >= Some(2),
        "{collected}"
    );
    let (kept, to) = (points[2].to_string(), lab.path("to"));
    lab.run(&["restore", &kept, "--to", to.to_str().unwrap()])
        .await
        .ok();
    lab.run(&["check", "--deep"]).await.ok();
    // There is room for a point now.
    make_points(&lab, "web01", &days(1)).await;
    lab.run(&["verify"]).await.ok();
}

/// Fills the file system to its last page.
pub(super) fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 4 << 10] {
        let piece = vec![0; size];
        while file.write_all(&piece).is_ok() {}
    }
    let more = std::fs::write(path.with_extension("more"), [0; 1]).unwrap_err();
    assert_eq!(more.kind(), ErrorKind::StorageFull);
    std::fs::remove_file(path.with_extension("more")).unwrap();
}

/// A file system that turned read-only, as after an I/O error: nothing in the VM was touched.
#[tokio::test]
async fn a_vault_that_cannot_be_written() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let (lab, tmpfs) = lab_on_tmpfs(&guest, 1024).await;
    tmpfs.remount("ro").await;
    lab.run(&["backup", VM]).await.raises("VaultStorageFailed");
    assert_unharmed(&guest).await;
    lab.run(&["points", "list"]).await.ok();
    tmpfs.remount("rw").await;
    lab.backup().await;
}

/// The same in the middle of a backup. The vault cannot even be told that the backup is over; the
/// VM is freed of its snapshot all the same.
#[tokio::test]
async fn a_vault_that_fails_under_a_backup() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    in_guest(&guest, DATA).await;
    let (lab, tmpfs) = lab_on_tmpfs(&guest, 1024).await;
    let held = HeldFreeze::install(&guest).await;
    let backup = Backup::start(&lab, &["--freeze-limit", "200"]).into_child();
    held.reached().await;
    tmpfs.remount("ro").await;
    held.let_go().await;
    finish(&["backup"], backup)
        .await
        .raises("VaultStorageFailed");
    assert_unharmed(&guest).await;
    tmpfs.remount("rw").await;
    lab.backup().await;
    lab.run(&["verify"]).await.ok();
}
