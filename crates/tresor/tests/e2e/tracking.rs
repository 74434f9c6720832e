//! What happens to disks behind the back of the change tracking: each is found, said, and the
//! recovery point is right all the same.

use std::{fs, os::unix::fs::FileExt as _, path::Path};

use serde_json::{Value, json};
use tresor_testkit::{Guest, GuestDisk, LONG, compare_images, run};

use crate::lab::{Lab, VM, assert_unharmed, bitmaps, disk_name, restored};

const PATTERN: [u8; 4096] = [0x5a; 4096];

async fn guest() -> Guest {
    let guest = Guest::builder().data_disk().iothread(true).start().await;
    guest.unwrap()
}

async fn in_guest(guest: &Guest, command: &str) {
    guest.exec(command).await.unwrap().ok().unwrap();
}

async fn qmp(guest: &Guest, command: &str, arguments: Value) {
    let done = guest.monitor().unwrap().execute(command, arguments).await;
    done.unwrap();
}

async fn backup(lab: &Lab, more: &[&str]) -> Value {
    lab.run(&[&["backup", VM], more].concat()).await.ok()
}

/// The disk of that name in a backup's result.
fn disk<'a>(point: &'a Value, name: &str) -> &'a Value {
    let disks = point["disks"].as_array().unwrap();
    let found = disks.iter().find(|disk| disk["name"] == name);
    found.unwrap_or_else(|| panic!("no disk {name} in {point}"))
}

fn reason<'a>(point: &'a Value, name: &str) -> &'a str {
    let mode = &disk(point, name)["read_mode"];
    mode["reason"].as_str().unwrap_or_else(|| panic!("{point}"))
}

/// Every disk was read by its bitmap.
fn is_incremental(point: &Value) -> bool {
    let disks = point["disks"].as_array().unwrap();
    let by_bitmap = |disk: &Value| disk["read_mode"]["mode"] == "incremental";
    disks.iter().all(by_bitmap)
}

/// The point holds what the image has. The guest must not have run since the backup.
async fn assert_equal(lab: &Lab, point: &Value, image: &GuestDisk) {
    let point = point["point"].as_str().unwrap();
    let to = format!("to-{}-{point}", image.name);
    let to = lab.restore_raw(point, &to).await;
    let restored = restored(&to, image, "raw");
    // QEMU holds a lock on the image itself.
    let copy = lab.path(&format!("copy-{point}"));
    fs::copy(&image.path, &copy).unwrap();
    let difference = compare_images(&copy, &restored).await.unwrap();
    assert!(difference.is_none(), "{}: {difference:?}", image.name);
}

/// After whatever happened: guest and vault are well, one bitmap a disk records, and the next
/// backup is incremental.
async fn assert_tracked_again(lab: &Lab, guest: &Guest) {
    let next = backup(lab, &[]).await;
    assert!(is_incremental(&next), "{next}");
    assert_unharmed(guest).await;
    assert_eq!(bitmaps(guest).await.len(), 2, "one bitmap a disk");
    lab.run(&["verify"]).await.ok();
}

/// Changes 4 KiB of a file that the guest has written, in the image, past QEMU.
fn write_around_qemu(image: &Path) {
    let bytes = fs::read(image).unwrap();
    let at = bytes.chunks(4096).position(|block| block == PATTERN);
    let at = at.expect("the guest's file is in the image") as u64 * 4096;
    let file = fs::OpenOptions::new().write(true).open(image).unwrap();
    file.write_all_at(&[0xa5; 4096], at).unwrap();
}

/// A guest with a file of a pattern on its data disk, and a point of it.
async fn with_pattern() -> (Guest, Lab, String) {
    let guest = guest().await;
    let fill = "dd if=/dev/zero bs=64k count=40 2>/dev/null | tr '\\0' Z > /data/pattern && sync";
    in_guest(&guest, fill).await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    let data = disk_name(&guest.disks()[1]);
    (guest, lab, data)
}

#[tokio::test]
async fn a_write_around_qemu_is_found_at_once_when_all_is_compared() {
    let (guest, lab, data) = with_pattern().await;
    let calm = backup(&lab, &["--reread", "all"]).await;
    assert!(is_incremental(&calm), "{calm}");
    assert!(disk(&calm, &data)["reread"]["bytes"].as_u64().unwrap() >= 2 << 20);

    qmp(&guest, "stop", Value::Null).await;
    write_around_qemu(&guest.disks()[1].path);
    let blind = backup(&lab, &["--reread", "0"]).await;
    assert!(is_incremental(&blind), "no other sign: {blind}");
    let point = backup(&lab, &["--reread", "all"]).await;
    let job = point["point"].as_str().unwrap();
    lab.warns("TrackingContradicted", job).await;
    assert!(reason(&point, &data).contains("lists no change"), "{point}");
    let reread = &disk(&point, &data)["reread"];
    assert_eq!(reread["differing"], 65536, "{point}");
    let new = disk(&point, &data)["stats"]["new"].as_u64().unwrap();
    assert!(
        (65536..1 << 20).contains(&new),
        "only what differs: {point}"
    );
    let system = disk_name(&guest.disks()[0]);
    assert_eq!(disk(&point, &system)["read_mode"]["mode"], "incremental");
    assert_equal(&lab, &point, &guest.disks()[1]).await;
    let shown = lab.run(&["jobs", "show", job]).await.ok();
    assert_eq!(shown["view"]["state"], "completed_with_warnings", "{shown}");
    qmp(&guest, "cont", Value::Null).await;
    assert_tracked_again(&lab, &guest).await;
    let latest = format!("latest:{VM}");
    let shown = lab.run(&["points", "show", &latest]).await.ok();
    let signs = &disk(&shown, &data)["tracking"]["signs"];
    assert_eq!(
        signs["last_whole"], job,
        "what the tracking rests on: {shown}"
    );
}

/// The share rolls on: within as many backups as it has parts, the change is found.
#[tokio::test]
async fn a_write_around_qemu_is_found_within_a_cycle() {
    let (guest, lab, data) = with_pattern().await;
    qmp(&guest, "stop", Value::Null).await;
    write_around_qemu(&guest.disks()[1].path);
    let mut compared = 0;
    for round in 0.. {
        assert!(round < 16, "not found in a whole cycle");
        let point = backup(&lab, &["--reread", "1/16"]).await;
        let disk = disk(&point, &data);
        assert_eq!(disk["reread"]["next"], (round + 1) % 16, "{point}");
        compared += disk["reread"]["bytes"].as_u64().unwrap();
        if disk["read_mode"]["mode"] == "full" {
            let job = point["point"].as_str().unwrap();
            lab.warns("TrackingContradicted", job).await;
            assert_equal(&lab, &point, &guest.disks()[1]).await;
            break;
        }
        assert!(is_incremental(&point), "{point}");
    }
    assert!(compared > 0);
    qmp(&guest, "cont", Value::Null).await;
    assert_tracked_again(&lab, &guest).await;
}

/// What was allocated and reads as zeros now is compared without being read.
#[tokio::test]
async fn a_hole_punched_around_qemu_is_found() {
    let (mut guest, lab, data) = with_pattern().await;
    guest.quit().await.unwrap();
    let image = guest.disks()[1].path.clone();
    // A program that opens the image without its bitmaps: they stay consistent.
    let raw = lab.path("raw");
    tresor_testkit::raw_copy(&image, &raw).await.unwrap();
    let bytes = fs::read(&raw).unwrap();
    let at = bytes
        .chunks(65536)
        .position(|chunk| chunk.iter().all(|byte| *byte == 0x5a));
    let at = at.expect("whole grains of the pattern") as u64;
    zero_cluster(&image, at);
    guest.restart().await.unwrap();
    let point = backup(&lab, &["--reread", "all"]).await;
    let job = point["point"].as_str().unwrap();
    lab.warns("TrackingContradicted", job).await;
    let offset = (at * 65536).to_string();
    assert!(reason(&point, &data).contains(&offset), "{point}");
    assert_tracked_again(&lab, &guest).await;
}

/// Takes a cluster out of a qcow2's tables (docs/interop/qcow2.txt of QEMU): L1 and L2 entries are
/// big-endian, bits 9 to 55 are an offset.
fn zero_cluster(image: &Path, cluster: u64) {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(image)
        .unwrap();
    let read = |at: u64| {
        let mut word = [0; 8];
        file.read_exact_at(&mut word, at).unwrap();
        u64::from_be_bytes(word)
    };
    let offset = |entry: u64| entry & 0x00ff_ffff_ffff_fe00;
    let (l1, entries) = (read(40), 65536 / 8);
    let l2 = offset(read(l1 + cluster / entries * 8));
    let entry = l2 + cluster % entries * 8;
    assert_ne!(read(entry), 0, "the cluster was allocated");
    file.write_all_at(&0_u64.to_be_bytes(), entry).unwrap();
}

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

async fn all_bitmaps_on(guest: &Guest, node: &str) -> Vec<String> {
    let monitor = guest.monitor().unwrap();
    let nodes = monitor
        .execute("query-named-block-nodes", Value::Null)
        .await
        .unwrap();
    let nodes = nodes.as_array().unwrap();
    let node = nodes
        .iter()
        .find(|found| found["node-name"] == node)
        .unwrap();
    let bitmaps = node["dirty-bitmaps"].as_array().into_iter().flatten();
    let names = bitmaps.filter_map(|bitmap| bitmap["name"].as_str());
    names.map(str::to_owned).collect()
}

async fn ours_on(guest: &Guest, node: &str) -> String {
    let names = all_bitmaps_on(guest, node).await;
    names
        .into_iter()
        .find(|name| name.starts_with("tresor-"))
        .unwrap()
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

/// As [`assert_tracked_again`], where a bitmap of an older point lies on another layer.
async fn assert_tracked_again_with(lab: &Lab, guest: &Guest) {
    let next = backup(lab, &[]).await;
    assert!(is_incremental(&next), "{next}");
    assert_unharmed(guest).await;
    lab.run(&["verify"]).await.ok();
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
