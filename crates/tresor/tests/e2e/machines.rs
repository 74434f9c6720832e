//! Several machines in one vault: what each believes of the other.

use std::fs;

use serde_json::json;
use tresor_testkit::{Guest, compare_images};

use crate::lab::{Lab, VM, modes, restored, write_private};

/// Another machine with the same vault, that the same VM runs on now.
async fn other_machine(lab: &Lab, guest: &Guest) -> Lab {
    let other = Lab::without_vault();
    let (vault, key) = (lab.vault(), other.path("key"));
    write_private(&key, &lab.recovery_key);
    let (vault, key) = (vault.to_str().unwrap(), key.to_str().unwrap());
    let add = ["vault", "add", vault, "--key-file", key];
    other.run(&add).await.ok();
    other.register(guest).await.ok();
    other
}

/// As when the images went to the other machine by a way that keeps no bitmap.
async fn lose_bitmaps(guest: &Guest) {
    let monitor = guest.monitor().unwrap();
    let nodes = monitor.execute("query-named-block-nodes", json!({})).await;
    for node in nodes.unwrap().as_array().unwrap() {
        for bitmap in node["dirty-bitmaps"].as_array().into_iter().flatten() {
            let of = json!({ "node": node["node-name"], "name": bitmap["name"] });
            monitor
                .execute("block-dirty-bitmap-remove", of)
                .await
                .unwrap();
        }
    }
}

/// A bit has flipped in each pack of the first machine: the second one's backup finds that before
/// anything rests on it, and is whole. Then the VM goes back, and its bitmap vouches for the point.
#[tokio::test]
async fn what_another_machine_stored_is_looked_at() {
    let mut guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    lose_bitmaps(&guest).await;
    let packs = fs::read_dir(lab.vault().join("packs")).unwrap();
    for pack in packs.flat_map(|dir| fs::read_dir(dir.unwrap().path()).unwrap()) {
        let pack = pack.unwrap().path();
        let mut bytes = fs::read(&pack).unwrap();
        // Small ones hold manifests.
        if bytes.len() >= 1 << 20 {
            bytes[2000] ^= 1;
            fs::write(&pack, bytes).unwrap();
        }
    }
    let other = other_machine(&lab, &guest).await;
    let moved = other.backup().await;
    assert_eq!(modes(&moved), ["full", "full"], "{moved}");
    let id = moved["point"].as_str().unwrap();
    other.warns("VaultClaimFalse", id).await;
    other.run(&["verify", id]).await.ok();

    guest
        .exec("tresor-workload churn --dir /data/churn --mib 2 && sync")
        .await
        .unwrap()
        .ok()
        .unwrap();
    let back = lab.backup().await;
    assert_eq!(modes(&back), ["incremental", "incremental"], "{back}");
    let id = back["point"].as_str().unwrap();
    lab.run(&["verify", id]).await.ok();
    guest.quit().await.unwrap();
    let last = lab.run(&["backup", VM]).await.ok();
    let to = lab
        .restore_raw(last["point"].as_str().unwrap(), "restored")
        .await;
    for disk in guest.disks() {
        let difference = compare_images(&disk.path, &restored(&to, disk, "raw")).await;
        assert_eq!(difference.unwrap(), None, "{}", disk.name);
    }
}
