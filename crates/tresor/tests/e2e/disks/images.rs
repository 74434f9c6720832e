//! Front ends and kinds of images.

use std::path::Path;

use serde_json::Value;
use tresor_testkit::{LONG, run};

use super::{Disks, Loop, assert_restored, copy, disk, mode, reason, write};
use crate::lab::{Lab, assert_unharmed};

/// All front ends and image kinds at once.
#[tokio::test]
async fn every_front_end_and_every_kind_of_image() {
    let mut disks = Disks::new();
    let raw = disks.create(&["-f", "raw"], "raw.img").await;
    disks.disk("raw", "raw", "", &raw, "virtio-blk-pci,id=raw");
    disks.create(&["-f", "qcow2"], "base.qcow2").await;
    let base = disks.path("base.qcow2");
    let base = base.to_str().unwrap();
    run(
        "qemu-io",
        &["-f", "qcow2", "-c", "write -P 7 0 1M", base],
        LONG,
    )
    .await
    .unwrap();
    let chain = disks
        .create(&["-f", "qcow2", "-F", "qcow2", "-b", base], "chain.qcow2")
        .await;
    disks.disk("chain", "qcow2", "", &chain, "virtio-blk-pci,id=chain");
    let data = disks.create(&["-f", "raw"], "split.raw").await;
    let options = format!("data_file={},data_file_raw=on", data.display());
    let split = disks
        .create(&["-f", "qcow2", "-o", &options], "split.qcow2")
        .await;
    disks.disk("split", "qcow2", "", &split, "virtio-blk-pci,id=split");
    disks.word("-object", "iothread,id=io1".to_owned());
    disks.word("-device", "virtio-scsi-pci,id=bus,iothread=io1".to_owned());
    let scsi = disks.create(&["-f", "qcow2"], "scsi.qcow2").await;
    disks.disk("scsi", "qcow2", "", &scsi, "scsi-hd,bus=bus.0,id=scsi");
    let nvme = disks.create(&["-f", "qcow2"], "nvme.qcow2").await;
    disks.disk("nvme", "qcow2", "", &nvme, "nvme,serial=nv,id=nvme");
    let thread = disks.create(&["-f", "qcow2"], "thread.qcow2").await;
    disks.disk(
        "thread",
        "qcow2",
        "",
        &thread,
        "virtio-blk-pci,iothread=io1,id=thread",
    );
    let beneath = disks.create(&["-f", "raw"], "beneath.img").await;
    let device = Loop::on(&beneath).await;
    disks.disk("loop", "raw", "", &device.0, "virtio-blk-pci,id=loop");
    let mut guest = disks.boot().await;
    let lab = Lab::with(&guest).await;
    let first = lab.backup().await;
    let images: [(&str, &str, &Path, &str); 7] = [
        ("raw", "raw", &raw, "/virtio-backend"),
        ("chain", "qcow2", &chain, "/virtio-backend"),
        ("split", "qcow2", &split, "/virtio-backend"),
        ("scsi", "qcow2", &scsi, ""),
        ("nvme", "qcow2", &nvme, ""),
        ("thread", "qcow2", &thread, "/virtio-backend"),
        ("loop", "raw", &device.0, "/virtio-backend"),
    ];
    for (name, _, _, inner) in images {
        assert_eq!(mode(&first, name), "full", "{first}");
        write(
            &guest,
            &format!("/machine/peripheral/{name}{inner}"),
            3,
            "2M",
        )
        .await;
    }
    let monitor = guest.monitor().unwrap();
    monitor.execute("stop", Value::Null).await.unwrap();
    let second = lab.backup().await;
    let mut copies = Vec::new();
    for (name, format, image, _) in images {
        let to = lab.path(&format!("{name}.copy"));
        copy(format, image, &to).await;
        copies.push((name, to));
        assert_eq!(mode(&second, name), "incremental", "{second}");
        assert_eq!(
            disk(&second, name).unwrap()["stats"]["changed"],
            65536,
            "{name}"
        );
    }
    monitor.execute("cont", Value::Null).await.unwrap();
    assert_restored(&lab, &second, "second", &copies).await;
    assert_unharmed(&guest).await;

    // Stopped: bitmaps lie in qcow2 images, also in one that keeps its data in another file; a raw
    // image is read again, and it is said why.
    guest.quit().await.unwrap();
    let stopped = lab.backup().await;
    for (name, format, _, _) in images {
        let expected = if format == "raw" {
            "full"
        } else {
            "incremental"
        };
        assert_eq!(mode(&stopped, name), expected, "{name}: {stopped}");
        assert!(expected == "incremental" || reason(&stopped, name).contains("keeps no"));
    }
    assert_restored(&lab, &stopped, "stopped", &copies).await;
    guest.restart().await.unwrap();
    let last = lab.backup().await;
    for (name, format, _, _) in images {
        let expected = if format == "raw" {
            "full"
        } else {
            "incremental"
        };
        assert_eq!(mode(&last, name), expected, "{name}: {last}");
        if expected == "full" {
            assert_eq!(
                disk(&last, name).unwrap()["stats"]["new"],
                0,
                "only differences"
            );
        }
    }
    assert_unharmed(&guest).await;
    lab.run(&["verify"]).await.ok();
}

/// A raw disk gets a qcow2 image for its bitmaps, by the very commands of the documentation: its
/// content stays, and it is tracked over a restart.
#[tokio::test]
async fn a_raw_disk_is_converted_as_documented() {
    let mut disks = Disks::new();
    let raw = disks.create(&["-f", "raw"], "disk.raw").await;
    let path = raw.to_str().unwrap();
    run(
        "qemu-io",
        &["-f", "raw", "-c", "write -P 6 3M 2M", path],
        LONG,
    )
    .await
    .unwrap();
    let before = std::fs::read(&raw).unwrap();
    let image = disks.path("disk.qcow2");
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/raw-disks.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, behind) = page.split_once("```sh\n").unwrap();
    let (commands, _) = behind.split_once("```").unwrap();
    let script = format!("set -e; raw={path}; image={}\n{commands}", image.display());
    let said = run("sh", &["-c", &script], LONG).await.unwrap();
    assert!(said.contains("Images are identical."), "{said}");
    assert!(
        std::fs::read(&raw).unwrap() == before,
        "the disk is as it was"
    );

    disks.disk("split", "qcow2", "", &image, "virtio-blk-pci,id=split");
    let mut guest = disks.boot().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    let device = "/machine/peripheral/split/virtio-backend";
    write(&guest, device, 2, "1M").await;
    guest.quit().await.unwrap();
    guest.restart().await.unwrap();
    let point = lab.backup().await;
    assert_eq!(mode(&point, "split"), "incremental", "{point}");
    assert_eq!(
        disk(&point, "split").unwrap()["stats"]["changed"],
        65536,
        "{point}"
    );
    assert_unharmed(&guest).await;
    guest.quit().await.unwrap();
    let copies = [("split", raw)];
    assert_restored(&lab, &point, "to", &copies).await;
}
