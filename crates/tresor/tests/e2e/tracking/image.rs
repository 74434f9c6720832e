//! Images and bitmaps that become others between two backups.

use std::fs;

use serde_json::{Value, json};
use tresor_testkit::{GuestDisk, LONG, run};

use super::{
    all_bitmaps_on, assert_equal, assert_tracked_again, assert_tracked_again_with, disk, guest,
    in_guest, is_incremental, ours_on, qmp, reason,
};
use crate::lab::{Lab, VM, assert_unharmed, disk_name};

#[tokio::test]
async fn another_tool_that_reaches_for_the_bitmap_is_seen_and_its_own_is_left_alone() {
    let guest = guest().await;
    let lab = Lab::with(&guest).await;
    let name = &guest.disks()[1].name;
    let theirs = json!({"node": name, "name": "theirs", "persistent": true});
    qmp(&guest, "block-dirty-bitmap-add", theirs).await;
    lab.backup().await;
    let data = disk_name(&guest.disks()[1]);
    for (command, words) in [
        ("block-dirty-bitmap-disable", "does not record"),
        ("block-dirty-bitmap-remove", "somebody removed it"),
    ] {
        in_guest(
            &guest,
            "tresor-workload churn --dir /data/churn --mib 1 && sync",
        )
        .await;
        let ours = ours_on(&guest, name).await;
        qmp(&guest, command, json!({"node": name, "name": ours})).await;
        in_guest(
            &guest,
            "tresor-workload churn --dir /data/churn --mib 1 --seed 2 && sync",
        )
        .await;
        let point = lab.backup().await;
        assert!(reason(&point, &data).contains(words), "{point}");
        assert_tracked_again(&lab, &guest).await;
    }
    let latest = format!("latest:{VM}");
    let shown = lab.run(&["points", "show", &latest]).await.ok();
    let facts = shown["facts"].as_array().unwrap();
    let fact = format!("disk.{data}.foreign-bitmaps");
    let fact = facts
        .iter()
        .find(|seen| seen["name"] == fact.as_str())
        .unwrap();
    assert_eq!(fact["value"], json!(["theirs"]));
    assert!(
        all_bitmaps_on(&guest, name)
            .await
            .contains(&"theirs".to_owned())
    );
}

/// A copy has the same bitmaps, and is not the image that they recorded on.
#[tokio::test]
async fn an_image_that_was_replaced_by_a_copy_is_read_whole() {
    let mut guest = guest().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    guest.quit().await.unwrap();
    let image = guest.disks()[1].path.clone();
    let copy = image.with_extension("copy");
    fs::copy(&image, &copy).unwrap();
    fs::rename(&copy, &image).unwrap();
    guest.restart().await.unwrap();
    let point = lab.backup().await;
    let data = disk_name(&guest.disks()[1]);
    assert!(reason(&point, &data).contains("replaced"), "{point}");
    assert_eq!(
        disk(&point, &disk_name(&guest.disks()[0]))["read_mode"]["mode"],
        "incremental"
    );
    assert_tracked_again(&lab, &guest).await;
}

/// While the VM runs, and while it does not: the bitmap is believed, and the new part read.
#[tokio::test]
async fn a_disk_that_grew_is_read_by_its_bitmap_and_behind_its_old_end() {
    let mut guest = guest().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    let image = guest.disks()[1].clone();
    let resize = json!({"node-name": image.name, "size": 640 << 20});
    qmp(&guest, "block_resize", resize).await;
    let device = "/dev/disk/by-id/virtio-data /dev/vdb";
    let write = format!(
        "for disk in {device}; do [ -b $disk ] && break; done; \
         tr '\\0' Z </dev/zero | dd of=$disk bs=64k count=4 seek=9000 conv=notrunc && sync"
    );
    in_guest(&guest, &write).await;
    qmp(&guest, "stop", Value::Null).await;
    let grown = lab.backup().await;
    assert!(is_incremental(&grown), "{grown}");
    let data = disk_name(&image);
    assert_eq!(disk(&grown, &data)["size"], 640 << 20);
    let read = disk(&grown, &data)["stats"]["read"].as_u64().unwrap();
    assert!(read < 64 << 20, "holes are not read: {grown}");
    assert_equal(&lab, &grown, &image).await;

    guest.quit().await.unwrap();
    let path = image.path.to_str().unwrap();
    run("qemu-img", &["resize", path, "704M"], LONG)
        .await
        .unwrap();
    guest.restart().await.unwrap();
    qmp(&guest, "stop", Value::Null).await;
    let grown = lab.backup().await;
    assert!(is_incremental(&grown), "{grown}");
    assert_equal(&lab, &grown, &image).await;
    qmp(&guest, "cont", Value::Null).await;
    assert_tracked_again(&lab, &guest).await;
}

#[tokio::test]
async fn an_external_snapshot_is_named_and_backed_up_as_the_disk_is() {
    let mut guest = guest().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    let image = guest.disks()[1].clone();
    let overlay = GuestDisk {
        path: guest.dir().join("overlay.qcow2"),
        ..image.clone()
    };
    let taken = json!({
        "node-name": image.name, "snapshot-file": overlay.path, "format": "qcow2",
        "snapshot-node-name": "overlay",
    });
    qmp(&guest, "blockdev-snapshot-sync", taken).await;
    in_guest(
        &guest,
        "tresor-workload churn --dir /data/churn --mib 2 && sync",
    )
    .await;
    let data = disk_name(&image);
    let point = lab.backup().await;
    assert!(
        reason(&point, &data).contains("external snapshot was taken"),
        "{point}"
    );
    let new = disk(&point, &data)["stats"]["new"].as_u64().unwrap();
    assert!(new < 16 << 20, "only what differs: {point}");
    in_guest(
        &guest,
        "tresor-workload churn --dir /data/churn --mib 1 --seed 2 && sync",
    )
    .await;
    qmp(&guest, "stop", Value::Null).await;
    let next = lab.backup().await;
    assert!(is_incremental(&next), "{next}");
    qmp(&guest, "cont", Value::Null).await;
    assert_unharmed(&guest).await;
    qmp(&guest, "stop", Value::Null).await;
    let last = lab.backup().await;
    guest.quit().await.unwrap();
    assert_equal(&lab, &last, &overlay).await;

    // Thrown away: the guest is back on the image below.
    guest.restart().await.unwrap();
    let back = lab.backup().await;
    assert!(
        reason(&back, &data).contains("committed or reverted"),
        "{back}"
    );
    assert_tracked_again_with(&lab, &guest).await;
}

/// After kill -9 all is read over the point before: what did not change is shared with it, the
/// manifest too, so that the vault hardly grows.
#[tokio::test]
async fn a_whole_read_stores_in_proportion_to_what_changed() {
    let mut guest = guest().await;
    in_guest(
        &guest,
        "tresor-workload churn --dir /data/big --mib 96 --file-mib 96 && sync",
    )
    .await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    guest.kill().await.unwrap();
    guest.restart().await.unwrap();
    qmp(&guest, "stop", Value::Null).await;
    let first = lab.backup().await;
    let data = disk_name(&guest.disks()[1]);
    assert!(
        reason(&first, &data).contains("inconsistent") || reason(&first, &data).contains("gone"),
        "{first}"
    );
    for disk in guest.disks() {
        assert_equal(&lab, &first, disk).await;
    }
    let ours = ours_on(&guest, "data").await;
    qmp(
        &guest,
        "block-dirty-bitmap-remove",
        json!({"node": "data", "name": ours}),
    )
    .await;
    let again = lab.backup().await;
    let stats = &disk(&again, &data)["stats"];
    assert!(stats["read"].as_u64().unwrap() >= 32 << 20, "{again}");
    assert_eq!(
        (&stats["new"], &stats["stored"]),
        (&json!(0), &json!(0)),
        "{again}"
    );
    qmp(&guest, "cont", Value::Null).await;
    assert_tracked_again(&lab, &guest).await;
}
