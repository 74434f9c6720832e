//! What may happen to a VM's registration and its place, and what is left of ours when something
//! dies.

use std::fs;

use serde_json::json;
use tresor_testkit::{DiskFormat, Guest};

use crate::{
    lab::{Lab, VM, assert_unharmed, bitmaps, modes},
    running::{Backup, HeldFreeze},
};

const CHURN: &str = "tresor-workload churn --dir /data/churn --mib 2 && sync";

async fn guest() -> Guest {
    Guest::builder().data_disk().start().await.unwrap()
}

async fn churn(guest: &Guest) {
    guest.exec(CHURN).await.unwrap().ok().unwrap();
}

/// Another state directory is another Tresor; the VM is the same.
#[tokio::test]
async fn two_tresors_do_not_work_on_one_vm() {
    let guest = guest().await;
    let (one, other) = (Lab::with(&guest).await, Lab::with(&guest).await);
    let held = HeldFreeze::install(&guest).await;
    let first = Backup::start(&one, &["--freeze-limit", "200"]).into_child();
    held.reached().await;
    let problem = other.run(&["backup", VM]).await.raises("VmBusy");
    let holder = problem["fields"]["holder"].as_str().unwrap();
    let process = format!("process {}", first.id().unwrap());
    assert!(holder.contains(&process), "{problem}");
    assert!(holder.contains(one.state().to_str().unwrap()), "{problem}");
    other.run(&["reconcile", VM]).await.raises("VmBusy");
    held.let_go().await;
    crate::lab::finish(&["backup"], first).await.ok();
    assert_unharmed(&guest).await;
    // Each has a chain of its own, and leaves the other's bitmaps alone.
    other.backup().await;
    churn(&guest).await;
    for lab in [&one, &other, &one] {
        let point = lab.backup().await;
        assert_eq!(modes(&point), ["incremental", "incremental"], "{point}");
    }
    assert_eq!(bitmaps(&guest).await.len(), 4, "two chains of two disks");
}

/// A process is killed in the transfer, and nobody does another backup: the reconciler frees the VM.
/// A dry run says so and changes nothing; look-alikes of others stay.
#[tokio::test]
async fn what_a_crash_left_is_reconciled_and_nothing_else() {
    let guest = crate::running::guest_with_data().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    let monitor = guest.monitor().unwrap();
    let node = guest.disks()[1].name.clone();
    let foreign = json!({ "node": node, "name": "tresor-is-not-its-owner" });
    monitor
        .execute("block-dirty-bitmap-add", foreign)
        .await
        .unwrap();
    let look_alike = json!({ "driver": "null-co", "node-name": "tresor-like", "size": 65536 });
    monitor.execute("blockdev-add", look_alike).await.unwrap();
    let kept = lab.state().join("fleecing/tresor-notes.qcow2");

    churn(&guest).await;
    let mut child = crate::running::backup_until(&lab, &[], "Take snapshot").await;
    child.kill().await.unwrap();
    fs::write(&kept, "not ours").unwrap();
    // As after a loss of the whole state directory: nobody knows of the job any more.
    let other = Lab::without_vault();
    let vault = lab.vault();
    let add = ["vault", "add", vault.to_str().unwrap(), "--key-file"];
    let key = lab.state().join("keys/vault.key");
    other
        .run(&[&add[..], &[key.to_str().unwrap()]].concat())
        .await
        .ok();
    other.register(&guest).await.ok();

    let fleecing = lab.state().join("fleecing");
    let fleecing = fleecing.to_str().unwrap();
    let words = ["reconcile", VM, "--fleecing-dir", fleecing];
    let dry = other.run(&[&words[..], &["--dry-run"]].concat()).await;
    assert_eq!(dry.lines().len(), 1, "{:?}", dry.lines());
    let done = other.run(&words).await;
    assert_eq!(done.lines()[0]["what"], dry.lines()[0]["what"]);
    let again = other.run(&words).await;
    again.ok();
    assert!(again.lines().is_empty(), "{:?}", again.lines());

    let nodes = monitor.execute("query-named-block-nodes", json!({})).await;
    let nodes = nodes.unwrap().to_string();
    assert!(nodes.contains("tresor-is-not-its-owner"), "the bitmap");
    assert!(nodes.contains("tresor-like"), "the node");
    assert!(kept.exists(), "the file");
    let gone = json!({ "node-name": "tresor-like" });
    monitor.execute("blockdev-del", gone).await.unwrap();
    let gone = json!({ "node": node, "name": "tresor-is-not-its-owner" });
    monitor
        .execute("block-dirty-bitmap-remove", gone)
        .await
        .unwrap();
    assert_unharmed(&guest).await;
    let point = lab.backup().await;
    assert_eq!(modes(&point), ["incremental", "incremental"], "{point}");
    lab.run(&["verify"]).await.ok();
}

/// Files of a VM that is gone for good are removed by a reconciler that has never heard of it.
#[tokio::test]
async fn files_of_a_vm_that_is_gone_are_removed() {
    let lab = Lab::new().await;
    let fleecing = lab.state().join("fleecing");
    fs::create_dir_all(&fleecing).unwrap();
    let vm = "5b0e66b0-4f2b-4c52-9ad4-6a4e2b7a0009";
    let ours = fleecing.join(format!("tresor-0123456789-f0.{vm}.qcow2"));
    let theirs = fleecing.join(format!("tresor-0123456789-f0.{vm}.qcow2.bak"));
    for file in [&ours, &theirs] {
        fs::write(file, "").unwrap();
    }
    lab.run(&["reconcile", "--dry-run"]).await.ok();
    assert!(ours.exists());
    let done = lab.run(&["reconcile"]).await;
    let what = ours.to_str().unwrap();
    assert!(
        done.lines().iter().any(|row| row["what"] == what),
        "{:?}",
        done.lines()
    );
    assert!(!ours.exists() && theirs.exists());
}

/// Its points are its own under any name, and backups go on incrementally.
#[tokio::test]
async fn a_renamed_vm_keeps_its_history() {
    let guest = guest().await;
    let lab = Lab::with(&guest).await;
    let first = lab.backup().await;
    lab.run(&["vm", "rename", VM, "shop01"]).await.ok();
    lab.run(&["backup", VM]).await.raises("VmNotFound");
    churn(&guest).await;
    let second = lab.run(&["backup", "shop01"]).await.ok();
    assert_eq!(modes(&second), ["incremental", "incremental"], "{second}");
    let listed = lab.run(&["points", "list", "shop01"]).await.lines();
    let ids: Vec<_> = listed.iter().map(|point| &point["id"]).collect();
    assert_eq!(ids, [&first["point"], &second["point"]]);
    let latest = lab.run(&["points", "show", "latest:shop01"]).await.ok();
    assert_eq!(latest["id"], second["point"]);
}

/// Its sockets moved. Only the VM itself is believed, and only where it answers.
#[tokio::test]
async fn a_vm_whose_sockets_moved_is_found_again() {
    let lab = Lab::new().await;
    let (old, new) = (lab.path("old-qmp"), lab.path("new-qmp"));
    let listen = |path: &std::path::Path| format!("unix:{},server=on,wait=off", path.display());
    let (first, second) = (listen(&old), listen(&new));
    let words = ["-qmp", first.as_str(), "-qmp", second.as_str()];
    let guest = Guest::builder()
        .extra_arguments(&words)
        .start()
        .await
        .unwrap();
    lab.register_socket(&old, &[]).await.ok();
    lab.backup().await;
    let stranger = Guest::builder().start().await.unwrap();
    let set = async |socket: &std::path::Path| {
        lab.run(&["vm", "set", VM, "--qmp", socket.to_str().unwrap()])
            .await
    };
    set(&stranger.qmp_socket())
        .await
        .raises("VmIdentityMismatch");
    set(&lab.path("nowhere")).await.raises("VmUnreachable");
    lab.run(&["vm", "set", VM]).await.raises("UsageError");
    fs::remove_file(&old).unwrap();
    let changed = set(&new).await.ok();
    assert_eq!(changed["qmp_socket"], new.to_str().unwrap());
    let agent = guest.agent_socket();
    let set_agent = ["vm", "set", VM, "--agent", agent.to_str().unwrap()];
    lab.run(&set_agent).await.ok();
    let point = lab.backup().await;
    assert_eq!(modes(&point), ["incremental"], "{point}");
    assert_eq!(point["consistency"]["achieved"], "application", "{point}");
}

/// The same VM on another host: other files, another catalog, the same identity. Its history goes
/// on, all of it is read and compared, and the point says why.
#[tokio::test]
async fn a_vm_on_another_host_goes_on_with_its_history() {
    let here = Guest::builder().start().await.unwrap();
    let lab = Lab::with(&here).await;
    let first = lab.backup().await;
    let copies = lab.path("copies");
    fs::create_dir(&copies).unwrap();
    let copy = here.pause_and_copy_disks(&copies).await.unwrap().remove(0);
    let uuid = here.uuid();
    drop(here);
    let there = Guest::builder()
        .uuid(uuid)
        .system_from(DiskFormat::Qcow2, copy.path)
        .start()
        .await
        .unwrap();
    let other = Lab::without_vault();
    fs::write(other.path("key"), &lab.recovery_key).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(other.path("key"), mode).unwrap();
    let (vault, key) = (lab.vault(), other.path("key"));
    let add = ["vault", "add", vault.to_str().unwrap(), "--key-file"];
    let add = [&add[..], &[key.to_str().unwrap()]].concat();
    other.run(&add).await.ok();
    other.register(&there).await.ok();
    let point = other.backup().await;
    let reason = point["disks"][0]["read_mode"]["reason"].as_str();
    assert!(
        reason.is_some_and(|reason| reason.contains("image")),
        "{point}"
    );
    let (read, new) = (&point["total"]["read"], &point["total"]["new"]);
    assert!(
        new.as_u64().unwrap() * 4 < read.as_u64().unwrap(),
        "{point}"
    );
    let listed = other.run(&["points", "list", VM]).await.lines();
    assert_eq!(listed.len(), 2, "one history: {listed:?}");
    assert_eq!(listed[0]["id"], first["point"]);
}

/// Protection ends: nothing of ours stays in the VM, the points do.
#[tokio::test]
async fn a_removed_vm_is_free_of_our_bitmaps_and_its_points_stay() {
    let guest = guest().await;
    let lab = Lab::with(&guest).await;
    let point = lab.backup().await;
    assert_eq!(bitmaps(&guest).await.len(), 2);
    lab.run(&["vm", "remove", VM]).await.ok();
    assert_eq!(bitmaps(&guest).await.len(), 0);
    assert_unharmed(&guest).await;
    let id = point["point"].as_str().unwrap();
    lab.restore_raw(id, "to").await;
}

/// Protection ends and the points go: after the plan was agreed to, and not before.
#[tokio::test]
async fn points_of_a_removed_vm_expire_when_asked_for() {
    let mut guest = guest().await;
    let lab = Lab::with(&guest).await;
    let point = lab.backup().await;
    let id = point["point"].as_str().unwrap();
    let remove = ["vm", "remove", VM, "--delete-points"];
    let refused = lab.run(&remove).await;
    refused.raises("UsageError");
    assert!(
        refused.stderr().contains(id),
        "the plan: {}",
        refused.stderr()
    );
    assert_eq!(lab.run(&["points", "list"]).await.lines().len(), 1);

    // A VM that cannot be asked keeps its bitmaps, and that is said.
    guest.quit().await.unwrap();
    let removed = lab.run(&[&remove[..], &["--yes"]].concat()).await.ok();
    assert_eq!(removed["expired"], json!([id]), "{removed}");
    assert!(lab.run(&["points", "list"]).await.lines().is_empty());
    let to = lab.path("to");
    let restore = ["restore", id, "--to", to.to_str().unwrap()];
    lab.run(&restore).await.raises("PointExpired");
    lab.run(&["verify"]).await.ok();
}

/// The state directory is gone: the vault and its recovery key bring everything back, and the next
/// backup is incremental.
#[tokio::test]
async fn a_lost_catalog_costs_no_full_backup() {
    let guest = guest().await;
    let lab = Lab::with(&guest).await;
    let first = lab.backup().await;
    fs::remove_dir_all(lab.state()).unwrap();
    let key = lab.path("key");
    fs::write(&key, &lab.recovery_key).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&key, mode).unwrap();
    let vault = lab.vault();
    let (vault, key) = (vault.to_str().unwrap(), key.to_str().unwrap());
    lab.run(&["vault", "add", vault, "--key-file", key])
        .await
        .ok();
    lab.register(&guest).await.ok();
    churn(&guest).await;
    let point = lab.backup().await;
    assert_eq!(modes(&point), ["incremental", "incremental"], "{point}");
    let listed = lab.run(&["points", "list", VM]).await.lines();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0]["id"], first["point"]);
    assert_unharmed(&guest).await;
}
