//! What is left out, or backed up only when told.

use tresor_testkit::{LONG, run};

use super::{Disks, assert_restored, copy, disk, left_out, reason, warns, write};
use crate::lab::{Lab, VM, assert_unharmed};

/// A disk that the guest can only read is backed up, a CD-ROM is not, a shared disk only when told.
#[tokio::test]
async fn read_only_media_and_shared_disks() {
    let mut disks = Disks::new();
    let fixed = disks.create(&["-f", "qcow2"], "fixed.qcow2").await;
    let path = fixed.to_str().unwrap();
    run(
        "qemu-io",
        &["-f", "qcow2", "-c", "write -P 9 1M 1M", path],
        LONG,
    )
    .await
    .unwrap();
    disks.disk(
        "fixed",
        "qcow2",
        ",read-only=on",
        &fixed,
        "virtio-blk-pci,id=fixed",
    );
    let shared = disks.create(&["-f", "raw"], "shared.img").await;
    disks.disk(
        "shared",
        "raw",
        "",
        &shared,
        "virtio-blk-pci,share-rw=on,id=shared",
    );
    let disc = disks.create(&["-f", "raw"], "disc.iso").await;
    disks.word("-device", "virtio-scsi-pci,id=bus".to_owned());
    disks.disk(
        "disc",
        "raw",
        ",read-only=on",
        &disc,
        "scsi-cd,bus=bus.0,id=disc",
    );
    disks.word("-device", "scsi-cd,bus=bus.0,id=empty".to_owned());
    let mut guest = disks.boot().await;
    let lab = Lab::with(&guest).await;
    let first = lab.backup().await;
    assert_eq!(
        disk(&first, "fixed").unwrap()["stats"]["read"],
        1 << 20,
        "{first}"
    );
    assert!(
        left_out(&first, "disc").is_some_and(|why| why.contains("CD-ROM")),
        "{first}"
    );
    assert!(left_out(&first, "empty").is_some_and(|why| why.contains("no medium")));
    assert!(left_out(&first, "shared").is_some_and(|why| why.contains("--include")));
    assert!(warns(&first, "shared") && !warns(&first, "disc"), "{first}");
    assert_unharmed(&guest).await;
    let second = lab.backup().await;
    assert!(reason(&second, "fixed").contains("only read"), "{second}");
    assert_eq!(
        disk(&second, "fixed").unwrap()["stats"]["new"],
        0,
        "{second}"
    );
    let mut copies = vec![("fixed", lab.path("fixed.copy"))];
    copy("qcow2", &fixed, &copies[0].1).await;
    assert_restored(&lab, &second, "second", &copies).await;

    lab.run(&["vm", "remove", VM]).await.ok();
    lab.register_socket(&guest.qmp_socket(), &["--include", "shared"])
        .await
        .ok();
    write(&guest, "/machine/peripheral/shared/virtio-backend", 5, "4M").await;
    copies.push(("shared", lab.path("shared.copy")));
    copy("raw", &shared, &copies[1].1).await;
    for to in ["third", "fourth"] {
        let point = lab.backup().await;
        assert!(reason(&point, "shared").contains("shared"), "{point}");
        assert!(warns(&point, "shared"), "{point}");
        assert_restored(&lab, &point, to, &copies).await;
    }
    assert_unharmed(&guest).await;
    guest.quit().await.unwrap();
    let stopped = lab.backup().await;
    assert_restored(&lab, &stopped, "stopped", &copies).await;
    lab.run(&["verify"]).await.ok();
}

/// A disk that another process serves, and a directory of the host: not disks that QEMU sees, so
/// they cannot be backed up, and both are said.
#[tokio::test]
async fn what_passes_qemu_by_is_said() {
    let mut disks = Disks::new();
    let image = disks.create(&["-f", "raw"], "served.img").await;
    let (image, socket) = (image.display(), disks.path("vhost.sock"));
    let server = tokio::process::Command::new("qemu-storage-daemon")
        .arg("--blockdev")
        .arg(format!("driver=file,node-name=served,filename={image}"))
        .arg("--export")
        .arg(format!(
            "type=vhost-user-blk,id=e,node-name=served,writable=on,addr.type=unix,addr.path={}",
            socket.display()
        ))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let listens = async {
        while !socket.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, listens).await.unwrap();
    let memory = "memory-backend-memfd,id=mem,size=128M,share=on";
    disks.word("-object", memory.to_owned());
    disks.word("-machine", "memory-backend=mem".to_owned());
    let chardev = format!("socket,id=served,path={}", socket.display());
    disks.word("-chardev", chardev);
    disks.word(
        "-device",
        "vhost-user-blk-pci,id=served,chardev=served".to_owned(),
    );
    let directory = disks.dir.path().display().to_string();
    disks.word(
        "-fsdev",
        format!("local,id=host,path={directory},security_model=none"),
    );
    disks.word(
        "-device",
        "virtio-9p-pci,id=share,fsdev=host,mount_tag=host".to_owned(),
    );
    let guest = disks.boot().await;
    let lab = Lab::with(&guest).await;
    let point = lab.backup().await;
    assert_eq!(point["disks"].as_array().unwrap().len(), 1, "{point}");
    for (name, word) in [("served", "vhost-user"), ("share", "directory")] {
        assert!(
            left_out(&point, name).is_some_and(|why| why.contains(word)),
            "{point}"
        );
        assert!(warns(&point, name), "{point}");
    }
    assert_unharmed(&guest).await;
    drop(server);
}
