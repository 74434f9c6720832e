//! Writes around QEMU, which leave no sign.

use std::{fs, os::unix::fs::FileExt as _, path::Path};

use serde_json::Value;
use tresor_testkit::{DiskFormat, Guest};

use super::{
    assert_equal, assert_tracked_again, backup, disk, guest, in_guest, is_incremental, qmp, reason,
};
use crate::lab::{Lab, VM, disk_name};

const PATTERN: [u8; 4096] = [0x5a; 4096];

/// Changes 4 KiB of a file that the guest has written, in the image, past QEMU.
fn write_around_qemu(image: &Path) {
    let bytes = fs::read(image).unwrap();
    let at = bytes.chunks(4096).position(|block| block == PATTERN);
    let at = at.expect("the guest's file is in the image") as u64 * 4096;
    let file = fs::OpenOptions::new().write(true).open(image).unwrap();
    file.write_all_at(&[0xa5; 4096], at).unwrap();
}

/// A guest with a file of a pattern on its data disk, and a point of it.
async fn with_pattern(guest: Guest) -> (Guest, Lab, String) {
    let fill = "dd if=/dev/zero bs=64k count=40 2>/dev/null | tr '\\0' Z > /data/pattern && sync";
    in_guest(&guest, fill).await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    let data = disk_name(&guest.disks()[1]);
    (guest, lab, data)
}

#[tokio::test]
async fn a_write_around_qemu_is_found_at_once_when_all_is_compared() {
    let (guest, lab, data) = with_pattern(guest().await).await;
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

/// A raw image has no tables that could tell either.
#[tokio::test]
async fn a_write_into_a_raw_image_is_found() {
    let guest = Guest::builder().empty_disk("data", DiskFormat::Raw, 64);
    let (guest, lab, data) = with_pattern(guest.start().await.unwrap()).await;
    let calm = backup(&lab, &["--reread", "all"]).await;
    assert!(is_incremental(&calm), "{calm}");
    qmp(&guest, "stop", Value::Null).await;
    write_around_qemu(&guest.disks()[1].path);
    let point = backup(&lab, &["--reread", "all"]).await;
    let job = point["point"].as_str().unwrap();
    lab.warns("TrackingContradicted", job).await;
    assert!(reason(&point, &data).contains("lists no change"), "{point}");
    assert_equal(&lab, &point, &guest.disks()[1]).await;
    qmp(&guest, "cont", Value::Null).await;
    assert_tracked_again(&lab, &guest).await;
}

/// The share rolls on: within as many backups as it has parts, the change is found.
#[tokio::test]
async fn a_write_around_qemu_is_found_within_a_cycle() {
    let (guest, lab, data) = with_pattern(guest().await).await;
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
    let (mut guest, lab, data) = with_pattern(guest().await).await;
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
