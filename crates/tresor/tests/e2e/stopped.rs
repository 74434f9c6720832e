//! VMs that do not run, or are started meanwhile.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tresor_testkit::{Guest, compare_images, run};

use crate::{
    lab::{Lab, VM, assert_unharmed, bitmaps, finish, restored},
    running::{backup_until, guest_with_data, signal},
};

const LONG: Duration = Duration::from_secs(120);

async fn guest() -> Guest {
    Guest::builder().data_disk().start().await.unwrap()
}

async fn churn(guest: &Guest, seed: u32) {
    let churn = format!("tresor-workload churn --dir /data/churn --mib 2 --seed {seed} && sync");
    guest.exec(&churn).await.unwrap().ok().unwrap();
}

fn modes(point: &Value) -> Vec<&str> {
    let disks = point["disks"].as_array().unwrap();
    disks
        .iter()
        .map(|disk| disk["read_mode"]["mode"].as_str().unwrap())
        .collect()
}

/// The point must hold what is in the image files of a guest that does not run.
async fn assert_holds_images(lab: &Lab, guest: &Guest, point: &Value, to: &str) {
    let to = lab.restore_raw(point["point"].as_str().unwrap(), to).await;
    for disk in guest.disks() {
        let difference = compare_images(&disk.path, &restored(&to, disk, "raw")).await;
        assert_eq!(difference.unwrap(), None, "disk {}", disk.name);
    }
}

/// Waits until nobody holds the image.
async fn wait_until_free(image: &Path) {
    let free = async {
        while run("qemu-img", &["info", image.to_str().unwrap()], LONG)
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, free).await.expect("is freed");
}

/// What `qemu-img info` tells of the bitmaps of ours in an image: name and flags.
async fn bitmaps_in(image: &Path) -> Vec<(String, Vec<String>)> {
    let args = ["info", "--output=json", image.to_str().unwrap()];
    let info: Value = serde_json::from_str(&run("qemu-img", &args, LONG).await.unwrap()).unwrap();
    let bitmaps = info["format-specific"]["data"]["bitmaps"].as_array();
    let told = bitmaps.into_iter().flatten().map(|bitmap| {
        let flags = bitmap["flags"].as_array().unwrap().iter();
        let flags = flags.map(|flag| flag.as_str().unwrap().to_owned());
        (bitmap["name"].as_str().unwrap().to_owned(), flags.collect())
    });
    told.collect()
}

/// One bitmap in each image, in order and recording.
async fn assert_one_good_bitmap(guest: &Guest) {
    for disk in guest.disks() {
        let bitmaps = bitmaps_in(&disk.path).await;
        assert_eq!(bitmaps.len(), 1, "{}: {bitmaps:?}", disk.name);
        assert_eq!(bitmaps[0].1, ["auto"], "{}: {bitmaps:?}", disk.name);
    }
}

/// A guest that was backed up, wrote a lot, and was shut down.
async fn stopped_with_much_to_read() -> (Guest, Lab) {
    let mut guest = guest_with_data().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    let churn = "tresor-workload churn --dir /data/big --mib 192 --file-mib 192 --seed 2 && sync";
    guest.exec(churn).await.unwrap().ok().unwrap();
    guest.power_off().await.unwrap();
    (guest, lab)
}

async fn kill_in_transfer(lab: &Lab) {
    let mut child = backup_until(lab, &[], "Take snapshot").await;
    signal(child.id().unwrap(), "KILL");
    child.wait().await.unwrap();
}

/// A job of the stopped VM must have ended because the VM was started.
async fn assert_gave_way(lab: &Lab) {
    let jobs = lab.run(&["jobs", "list"]).await.lines();
    let left = jobs.iter().find(|job| job["state"] == "failed");
    let left = left.unwrap_or_else(|| panic!("the backup was over before the start: {jobs:?}"));
    lab.records("VmStarted", left["job"].as_str().unwrap())
        .await;
}

/// Running, stopped, stopped again, running: each continues the one before.
#[tokio::test]
async fn tracking_goes_on_over_stop_and_start() {
    let mut guest = guest().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    churn(&guest, 1).await;
    guest.power_off().await.unwrap();

    let stopped = lab.backup().await;
    assert_eq!(modes(&stopped), ["incremental", "incremental"], "{stopped}");
    assert!(
        stopped["total"]["read"].as_u64().unwrap() < 64 << 20,
        "{stopped}"
    );
    let consistency = &stopped["consistency"];
    assert_eq!(consistency["achieved"], "crash", "{stopped}");
    assert_eq!(consistency["attempts"][0]["rung"], "stopped", "{stopped}");
    assert_one_good_bitmap(&guest).await;
    assert_holds_images(&lab, &guest, &stopped, "first").await;

    let again = lab.backup().await;
    assert_eq!(modes(&again), ["incremental", "incremental"], "{again}");
    assert_eq!(again["total"]["changed"], 0, "nothing was written: {again}");
    assert_one_good_bitmap(&guest).await;

    guest.restart().await.unwrap();
    churn(&guest, 2).await;
    let running = lab.backup().await;
    assert_eq!(modes(&running), ["incremental", "incremental"], "{running}");
    assert_unharmed(&guest).await;
    assert_eq!(bitmaps(&guest).await.len(), 2, "one bitmap a disk");
    guest.quit().await.unwrap();
    let last = lab.backup().await;
    assert_eq!(modes(&last), ["incremental", "incremental"], "{last}");
    assert_holds_images(&lab, &guest, &last, "last").await;
    lab.run(&["verify"]).await.ok();
}

/// The first backup of a VM may find it stopped.
#[tokio::test]
async fn a_first_backup_of_a_stopped_vm() {
    let mut guest = guest().await;
    let lab = Lab::with(&guest).await;
    guest.quit().await.unwrap();
    let shown = lab.run(&["vm", "show", VM]).await.ok();
    assert_eq!(shown["state"], "stopped", "{shown}");
    assert_eq!(shown["machine"]["disks"].as_array().unwrap().len(), 2);
    let first = lab.backup().await;
    assert_eq!(modes(&first), ["full", "full"], "{first}");
    assert_holds_images(&lab, &guest, &first, "first").await;
    guest.restart().await.unwrap();
    let second = lab.backup().await;
    assert_eq!(modes(&second), ["incremental", "incremental"], "{second}");
    assert_unharmed(&guest).await;
}

/// The VM is started in the transfer: its start is not refused, and the backup goes on with it.
#[tokio::test]
async fn a_vm_that_is_started_meanwhile_gets_its_disks() {
    let mut guest = guest_with_data().await;
    let lab = Lab::with(&guest).await;
    guest.quit().await.unwrap();
    let child = backup_until(&lab, &[], "Take snapshot").await;
    // QEMU must come up at the first try: it is not started again.
    guest.restart().await.unwrap();
    let point = finish(&["backup"], child).await.ok();
    assert_gave_way(&lab).await;
    assert_ne!(
        point["consistency"]["attempts"][0]["rung"], "stopped",
        "{point}"
    );
    assert_unharmed(&guest).await;
    assert_eq!(bitmaps(&guest).await.len(), 2, "one bitmap a disk");
    churn(&guest, 3).await;
    let next = lab.backup().await;
    assert_eq!(modes(&next), ["incremental", "incremental"], "{next}");
    lab.run(&["verify"]).await.ok();
}

/// The same in an incremental: the bitmap that was read is whole again.
#[tokio::test]
async fn an_incremental_that_gave_way_is_still_incremental() {
    let (mut guest, lab) = stopped_with_much_to_read().await;
    let child = backup_until(&lab, &[], "Take snapshot").await;
    guest.restart().await.unwrap();
    let point = finish(&["backup"], child).await.ok();
    assert_gave_way(&lab).await;
    assert_eq!(modes(&point), ["incremental", "incremental"], "{point}");
    assert_unharmed(&guest).await;
    guest.quit().await.unwrap();
    let last = lab.backup().await;
    assert_holds_images(&lab, &guest, &last, "last").await;
    lab.run(&["verify"]).await.ok();
}

/// kill -9 in the transfer: the images are free, the bitmaps in order, the next backup is
/// incremental.
#[tokio::test]
async fn a_killed_backup_lets_the_images_go() {
    let (guest, lab) = stopped_with_much_to_read().await;
    kill_in_transfer(&lab).await;
    for disk in guest.disks() {
        wait_until_free(&disk.path).await;
        let bitmaps = bitmaps_in(&disk.path).await;
        assert_eq!(bitmaps.len(), 2, "the old one and the new one: {bitmaps:?}");
        let broken = |flags: &[String]| flags.iter().any(|flag| flag == "in-use");
        assert!(
            !bitmaps.iter().any(|(_, flags)| broken(flags)),
            "{bitmaps:?}"
        );
    }
    let run = lab.run(&["backup", VM]).await;
    let point = run.ok();
    assert!(run.stderr().contains("left behind"), "{}", run.stderr());
    assert_eq!(modes(&point), ["incremental", "incremental"], "{point}");
    assert_one_good_bitmap(&guest).await;
    assert_holds_images(&lab, &guest, &point, "point").await;
    lab.run(&["verify"]).await.ok();
}

/// Killed while the VM was stopped, ended through the VM that runs: the dead job's bitmaps are
/// found in either state.
#[tokio::test]
async fn what_a_killed_backup_left_is_ended_through_the_started_vm() {
    let (mut guest, lab) = stopped_with_much_to_read().await;
    kill_in_transfer(&lab).await;
    // Nobody holds the start back any more; the storage daemon ends with the killed backup.
    for disk in guest.disks() {
        wait_until_free(&disk.path).await;
    }
    guest.restart().await.unwrap();
    let point = lab.backup().await;
    assert_eq!(modes(&point), ["incremental", "incremental"], "{point}");
    assert_unharmed(&guest).await;
    assert_eq!(bitmaps(&guest).await.len(), 2, "one bitmap a disk");
    lab.run(&["verify"]).await.ok();
}

/// Ctrl-C: unwound, the images are free and tracked.
#[tokio::test]
async fn an_interrupted_backup_leaves_the_images_as_they_were() {
    let (guest, lab) = stopped_with_much_to_read().await;
    let child = backup_until(&lab, &[], "Take snapshot").await;
    signal(child.id().unwrap(), "INT");
    finish(&["backup"], child).await.raises("Interrupted");
    assert_one_good_bitmap(&guest).await;
    let point = lab.backup().await;
    assert_eq!(modes(&point), ["incremental", "incremental"], "{point}");
}

/// QEMU itself lost its bitmaps before: read again, and said why.
#[tokio::test]
async fn a_vm_that_was_killed_is_read_again_while_it_is_stopped() {
    let mut guest = guest().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    churn(&guest, 1).await;
    guest.kill().await.unwrap();
    let point = lab.backup().await;
    assert_eq!(modes(&point), ["full", "full"], "{point}");
    assert!(
        point["disks"][0]["read_mode"]["reason"].is_string(),
        "{point}"
    );
    assert_one_good_bitmap(&guest).await;
    assert_holds_images(&lab, &guest, &point, "point").await;
}

/// An image is gone; then it is back.
#[tokio::test]
async fn a_missing_image_is_said() {
    let mut guest = guest().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    guest.quit().await.unwrap();
    let image = &guest.disks()[1].path;
    let aside = image.with_extension("aside");
    std::fs::rename(image, &aside).unwrap();
    let problem = lab.run(&["backup", VM]).await.raises("DiskImageMissing");
    assert_eq!(problem["fields"]["path"], image.to_str().unwrap());
    std::fs::rename(&aside, image).unwrap();
    let point = lab.backup().await;
    assert_eq!(modes(&point), ["incremental", "incremental"], "{point}");
    assert_one_good_bitmap(&guest).await;
}

/// Somebody else has an image open: said who, and not touched.
#[tokio::test]
async fn an_image_that_somebody_else_holds_is_left_alone() {
    let mut guest = guest().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    guest.quit().await.unwrap();
    let image = guest.disks()[1].path.clone();
    let mut holder = tokio::process::Command::new("qemu-io")
        .args(["-f", "qcow2", image.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // It answers once the image is open. (Looking at the image's lock would be in its way.)
    holder
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"length\n")
        .await
        .unwrap();
    let mut answers = BufReader::new(holder.stdout.take().unwrap()).lines();
    let answer = tokio::time::timeout(LONG, answers.next_line()).await;
    let answer = answer.expect("is held").unwrap();
    assert!(answer.is_some_and(|line| line.contains("iB")));
    let problem = lab.run(&["backup", VM]).await.raises("DiskImageInUse");
    let who = problem["fields"]["holder"].as_str().unwrap();
    assert!(who.contains("qemu-io"), "{problem}");
    drop(holder.stdin.take()); // ends in order
    holder.wait().await.unwrap();
    let point = lab.backup().await;
    assert_eq!(modes(&point), ["incremental", "incremental"], "{point}");
    assert_one_good_bitmap(&guest).await;
}
