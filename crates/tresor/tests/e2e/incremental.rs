//! What an incremental backup reads.

use tresor_testkit::{Guest, compare_images};

use crate::lab::{Lab, VM, assert_unharmed, bitmaps, disk_name, restored};

async fn guest() -> Guest {
    Guest::builder()
        .data_disk()
        .iothread(true)
        .start()
        .await
        .unwrap()
}

fn mode(point: &serde_json::Value, at: usize) -> &str {
    point["disks"][at]["read_mode"]["mode"].as_str().unwrap()
}

/// Bytes read are at most the dirty bytes that QEMU itself counts, a tenth more.
#[tokio::test]
async fn an_incremental_reads_only_what_is_dirty() {
    let guest = guest().await;
    let lab = Lab::with(&guest).await;
    let first = lab.backup().await;
    assert_eq!((mode(&first, 0), mode(&first, 1)), ("full", "full"));
    guest
        .exec("tresor-workload churn --dir /data/churn --mib 4 && sync")
        .await
        .unwrap()
        .ok()
        .unwrap();
    // The guest is paused, so that the count and the backup see the same.
    guest
        .monitor()
        .unwrap()
        .execute("stop", serde_json::Value::Null)
        .await
        .unwrap();
    let dirty: u64 = bitmaps(&guest)
        .await
        .iter()
        .map(|bitmap| bitmap["count"].as_u64().unwrap())
        .sum();
    let second = lab.run(&["backup", VM, "--reread", "0"]).await.ok();
    guest
        .monitor()
        .unwrap()
        .execute("cont", serde_json::Value::Null)
        .await
        .unwrap();
    assert_eq!(
        (mode(&second, 0), mode(&second, 1)),
        ("incremental", "incremental")
    );
    let read = second["total"]["read"].as_u64().unwrap();
    assert!(dirty >= 4 << 20, "{dirty}");
    assert!(
        read <= dirty + dirty / 10,
        "read {read} of {dirty} dirty bytes"
    );
    assert_unharmed(&guest).await;
    assert_eq!(bitmaps(&guest).await.len(), 2, "one bitmap a disk");
}

/// A clean stop keeps the bitmaps: the next backup is incremental.
#[tokio::test]
async fn a_restarted_vm_is_still_tracked() {
    let mut guest = guest().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    guest
        .exec("tresor-workload churn --dir /data/churn --mib 2 && sync")
        .await
        .unwrap()
        .ok()
        .unwrap();
    guest.quit().await.unwrap();
    guest.restart().await.unwrap();
    let point = lab.backup().await;
    assert_eq!(
        (mode(&point, 0), mode(&point, 1)),
        ("incremental", "incremental"),
        "{point}"
    );
    assert!(
        point["total"]["read"].as_u64().unwrap() < 64 << 20,
        "{point}"
    );
}

/// After kill -9 the bitmaps are not to be believed: all is read, only what differs is stored, and
/// the point says why.
#[tokio::test]
async fn a_killed_vm_is_read_again_and_says_why() {
    let mut guest = guest().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    guest
        .exec("tresor-workload churn --dir /data/churn --mib 2 && sync")
        .await
        .unwrap()
        .ok()
        .unwrap();
    guest.kill().await.unwrap();
    guest.restart().await.unwrap();
    let point = lab.backup().await;
    assert_eq!(
        (mode(&point, 0), mode(&point, 1)),
        ("full", "full"),
        "{point}"
    );
    assert!(
        !point["disks"][0]["read_mode"]["reason"]
            .as_str()
            .unwrap()
            .is_empty()
    );
    let (read, new) = (&point["total"]["read"], &point["total"]["new"]);
    assert!(
        new.as_u64().unwrap() * 4 < read.as_u64().unwrap(),
        "only differences: {point}"
    );
    assert_eq!(
        bitmaps(&guest).await.len(),
        2,
        "one bitmap a disk, the broken ones are gone"
    );
}

/// Ten incrementals, each equal to the image files copied while the VM was paused.
#[tokio::test]
async fn ten_incrementals_equal_the_copied_images() {
    let guest = guest().await;
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    let mut points = Vec::new();
    for round in 0..10 {
        let churn =
            format!("tresor-workload churn --dir /data/churn --mib 2 --seed {round} && sync");
        guest.exec(&churn).await.unwrap().ok().unwrap();
        guest
            .monitor()
            .unwrap()
            .execute("stop", serde_json::Value::Null)
            .await
            .unwrap();
        let point = lab.backup().await;
        let copied = lab.path(&format!("copied-{round}"));
        std::fs::create_dir(&copied).unwrap();
        let copies = guest.copy_disks(&copied).await.unwrap();
        guest
            .monitor()
            .unwrap()
            .execute("cont", serde_json::Value::Null)
            .await
            .unwrap();
        assert_eq!(
            (mode(&point, 0), mode(&point, 1)),
            ("incremental", "incremental"),
            "{point}"
        );
        points.push((point["point"].as_str().unwrap().to_owned(), copies));
    }
    for (round, (point, copies)) in points.iter().enumerate() {
        let to = lab.restore_raw(point, &format!("restored-{round}")).await;
        for copy in copies {
            let difference = compare_images(&copy.path, &restored(&to, copy, "raw"))
                .await
                .unwrap();
            assert!(
                difference.is_none(),
                "round {round}, disk {}: {difference:?}",
                copy.name
            );
        }
        std::fs::remove_dir_all(&to).unwrap();
    }
    assert_unharmed(&guest).await;
    lab.run(&["verify"]).await.ok();
}

/// One disk left out by its registration: said, and the other one is backed up.
#[tokio::test]
async fn an_excluded_disk_is_said() {
    let guest = guest().await;
    let lab = Lab::new().await;
    let qmp = guest.qmp_socket();
    let name = disk_name(&guest.disks()[1]);
    lab.run(&[
        "vm",
        "add",
        VM,
        "--qmp",
        qmp.to_str().unwrap(),
        "--exclude",
        &name,
    ])
    .await
    .ok();
    let point = lab.backup().await;
    assert_eq!(point["disks"].as_array().unwrap().len(), 1);
    let shown = lab
        .run(&["points", "show", &format!("latest:{VM}")])
        .await
        .ok();
    let excluded = &shown["machine"]["disks"][1]["excluded"];
    assert_eq!(excluded, "left out by its registration", "{shown}");
}
