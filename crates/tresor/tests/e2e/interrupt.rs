//! A backup that does not come to its end.

use std::{fs, time::Duration};

use crate::{
    lab::{Lab, VM, assert_unharmed, bitmaps, finish},
    running::{backup_until, guest_with_data, signal},
};

/// Ctrl-C in the transfer: unwound at once, and the next backup is what it would have been.
#[tokio::test]
async fn ctrl_c_unwinds_and_the_next_backup_is_incremental() {
    let guest = guest_with_data().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    guest
        .exec("tresor-workload churn --dir /data/big --mib 192 --file-mib 192 --seed 2 && sync")
        .await
        .unwrap()
        .ok()
        .unwrap();
    let child = backup_until(&lab, &[], "Take snapshot").await;
    signal(child.id().unwrap(), "INT");
    finish(&["backup"], child).await.raises("Interrupted");
    assert_unharmed(&guest).await;
    assert_eq!(bitmaps(&guest).await.len(), 2);
    let point = lab.backup().await;
    assert_eq!(
        point["disks"][1]["read_mode"]["mode"], "incremental",
        "{point}"
    );
    lab.run(&["verify"]).await.ok();
}

/// kill -9 in the transfer: the guest runs on, the next backup ends the dead job first and is
/// incremental.
#[tokio::test]
async fn a_killed_backup_is_unwound_by_the_next_one() {
    let guest = guest_with_data().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    guest
        .exec("tresor-workload churn --dir /data/big --mib 192 --file-mib 192 --seed 2 && sync")
        .await
        .unwrap()
        .ok()
        .unwrap();
    let mut child = backup_until(&lab, &[], "Take snapshot").await;
    signal(child.id().unwrap(), "KILL");
    child.wait().await.unwrap();
    guest
        .exec("echo still here > /data/x && sync")
        .await
        .unwrap()
        .ok()
        .unwrap();
    let run = lab.run(&["backup", VM]).await;
    let point = run.ok();
    assert!(run.stderr().contains("left behind"), "{}", run.stderr());
    assert_eq!(
        point["disks"][1]["read_mode"]["mode"], "incremental",
        "{point}"
    );
    assert_unharmed(&guest).await;
    let jobs = lab.run(&["jobs", "list"]).await.lines();
    assert!(jobs.iter().any(|job| job["state"] == "failed"), "{jobs:?}");
    let killed = jobs.iter().find(|job| job["state"] == "failed").unwrap();
    lab.records("JobAbandoned", killed["job"].as_str().unwrap())
        .await;
    lab.run(&["verify"]).await.ok();
}

/// Size of the packs of a vault, and how many there are.
fn packs(lab: &Lab) -> (u64, usize) {
    let dirs = fs::read_dir(lab.vault().join("packs"));
    let files = dirs.into_iter().flatten().flat_map(|dir| {
        let files = fs::read_dir(dir.unwrap().path()).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len())
    });
    files.fold((0, 0), |(bytes, number), size| (bytes + size, number + 1))
}

/// kill -9 in the middle of a first backup: the next one sends what is missing.
#[tokio::test]
async fn a_killed_first_backup_goes_on() {
    let guest = guest_with_data().await;
    let lab = Lab::with(&guest).await;
    // Slow enough to be killed in the middle: a pack every two seconds.
    let mut child = backup_until(&lab, &["--upload-limit", "16"], "Take snapshot").await;
    while packs(&lab).1 < 3 {
        assert!(child.try_wait().unwrap().is_none(), "it was too fast");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    signal(child.id().unwrap(), "KILL");
    child.wait().await.unwrap();
    let (there, _) = packs(&lab);
    assert!(there >= 64 << 20, "{there}");
    let point = lab.backup().await;
    let total = |what: &str| point["total"][what].as_u64().unwrap();
    let (all, sent) = (packs(&lab).0, packs(&lab).0 - there);
    // What was under way when it was killed is sent again, no more: two packs and the open one.
    assert!(total("stored") <= sent, "{point}");
    let data = total("read") - total("zero");
    assert!(
        total("new") + there <= data + (8 << 20),
        "{there} of {all} were there: {point}"
    );
    lab.run(&["verify"]).await.ok();
}

/// A second process asks the first one's job to stop.
#[tokio::test]
async fn a_job_is_cancelled_from_another_process() {
    let guest = guest_with_data().await;
    let lab = Lab::with(&guest).await;
    let child = backup_until(&lab, &[], "Prepare").await;
    let jobs = lab.run(&["jobs", "list"]).await.lines();
    let job = jobs.iter().find(|job| job["state"] == "in_progress");
    let job = job.unwrap_or_else(|| panic!("{jobs:?}"))["job"]
        .as_str()
        .unwrap()
        .to_owned();
    // Held, so that the job cannot be over before the request is there.
    signal(child.id().unwrap(), "STOP");
    lab.run(&["jobs", "cancel", &job]).await.ok();
    signal(child.id().unwrap(), "CONT");
    finish(&["backup"], child).await.raises("Interrupted");
    let shown = lab.run(&["jobs", "show", &job]).await.ok();
    assert_eq!(shown["state"], "cancelled", "{shown}");
    assert_unharmed(&guest).await;
}

/// The fleecing store fills up while the guest overwrites what was not read yet: the backup is
/// lost with its reason, the guest's writes are whole, and the VM never stopped.
#[tokio::test]
async fn a_full_fleecing_store_loses_the_snapshot_and_no_guest_write() {
    let guest = guest_with_data().await;
    let lab = Lab::with(&guest).await;
    let child = backup_until(&lab, &["--fleecing-limit", "4"], "Take snapshot").await;
    signal(child.id().unwrap(), "STOP");
    guest
        .exec("tresor-workload churn --dir /data/big --mib 192 --file-mib 192 --seed 3 && sync")
        .await
        .unwrap()
        .ok()
        .unwrap();
    let sums = guest
        .exec("cat /data/big/* | sha256sum")
        .await
        .unwrap()
        .ok()
        .unwrap();
    signal(child.id().unwrap(), "CONT");
    finish(&["backup"], child).await.raises("SnapshotLost");
    assert_unharmed(&guest).await;
    let again = guest
        .exec("echo 3 > /proc/sys/vm/drop_caches; cat /data/big/* | sha256sum")
        .await;
    assert_eq!(
        again.unwrap().ok().unwrap(),
        sums,
        "the guest's writes are whole"
    );
    lab.backup().await;
}

/// The guest agent of a frozen guest is asked to thaw by the guard, when `tresor` is killed
/// between freeze and thaw. The swap takes milliseconds, so the moment is made by the hook: it
/// lets the test know that the freeze has begun, and waits.
#[tokio::test]
async fn a_backup_killed_in_the_freeze_leaves_no_frozen_guest() {
    let guest = guest_with_data().await;
    let lab = Lab::with(&guest).await;
    let slow = "printf '#!/bin/sh\\n[ \"$1\" = freeze ] && touch /run/freezing && sleep 3\\nexit 0\\n' \
                > /etc/tresor/fsfreeze-hook.d/98-slow && chmod 755 /etc/tresor/fsfreeze-hook.d/98-slow";
    guest.exec(slow).await.unwrap().ok().unwrap();
    let mut child = lab.command(&["backup", VM]).spawn().unwrap();
    guest
        .exec("while [ ! -e /run/freezing ]; do sleep 0.05; done")
        .await
        .unwrap()
        .ok()
        .unwrap();
    signal(child.id().unwrap(), "KILL");
    child.wait().await.unwrap();
    // Longer than the hook: by now the freeze that was under way has come and gone.
    tokio::time::sleep(Duration::from_secs(5)).await;
    guest
        .exec("rm /etc/tresor/fsfreeze-hook.d/98-slow && echo thawed > /data/thawed && sync")
        .await
        .unwrap()
        .ok()
        .unwrap();
    lab.backup().await;
    assert_unharmed(&guest).await;
}
