//! A vault with damage in it.

use std::fs;

use tresor_testkit::Guest;

use crate::lab::{Lab, VM, disk_name, packs};

/// A flipped bit: restore names chunk and disk and leaves no image; verify says the same; the VM's
/// next backup is not refused.
#[tokio::test]
async fn a_damaged_pack_is_named_by_chunk_and_disk() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    let point = lab.backup().await["point"].as_str().unwrap().to_owned();
    // Disks are stored before the kernel, so that the beginning of a pack is a disk's. The small
    // packs hold manifests, without which the next backup has nothing to build on.
    for pack in packs(&lab.vault()) {
        let mut bytes = fs::read(&pack).unwrap();
        if bytes.len() < 1 << 20 {
            continue;
        }
        bytes[2000] ^= 1;
        fs::write(&pack, bytes).unwrap();
    }

    let to = lab.path("to");
    let problem = lab
        .run(&["restore", &point, "--to", to.to_str().unwrap()])
        .await
        .raises("ChunkDamaged");
    let fields = &problem["fields"];
    assert!(fields["chunk"].as_str().unwrap().len() >= 16, "{problem}");
    assert!(
        guest
            .disks()
            .iter()
            .any(|disk| disk_name(disk) == fields["disk"].as_str().unwrap()),
        "{problem}"
    );
    let object = fields["object"].as_str().unwrap();
    assert!(lab.vault().join(object).exists(), "{problem}");
    let whole = fs::read_dir(&to).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_str()
            .unwrap()
            .contains(fields["disk"].as_str().unwrap())
            && !name.to_str().unwrap().contains(".partial")
    });
    assert_eq!(whole.count(), 0, "a damaged disk never gets its final name");

    lab.run(&["verify", &point]).await.raises("ChunkDamaged");
    lab.backup().await;
}

/// Manifests that cannot be read: the next backup does not build on them, and its point is whole.
#[tokio::test]
async fn a_damaged_manifest_is_not_built_on() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    let broken = lab.backup().await["point"].as_str().unwrap().to_owned();
    for pack in packs(&lab.vault()) {
        let mut bytes = fs::read(&pack).unwrap();
        // The small packs hold manifests.
        if bytes.len() < 1 << 20 {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes[200] ^= 1;
            fs::write(&pack, bytes).unwrap();
        }
    }
    lab.run(&["verify", &broken]).await.raises("ChunkDamaged");
    let churn = "tresor-workload churn --dir /data/churn --mib 1 && sync";
    guest.exec(churn).await.unwrap().ok().unwrap();
    let point = lab.backup().await["point"].as_str().unwrap().to_owned();
    lab.warns("ChunkDamaged", &point).await;
    lab.run(&["verify", &point]).await.ok();
}

/// Lost packs: the restore names what it missed.
#[tokio::test]
async fn a_lost_pack_is_named() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    for pack in packs(&lab.vault()) {
        fs::remove_file(pack).unwrap();
    }
    let to = lab.path("to");
    let latest = format!("latest:{VM}");
    let args = ["restore", &latest, "--to", to.to_str().unwrap()];
    let problem = lab.run(&args).await.raises("ChunkDamaged");
    let object = problem["fields"]["object"].as_str().unwrap();
    assert!(object.starts_with("packs/"), "{problem}");
    assert!(
        problem["fields"]["reason"]
            .as_str()
            .unwrap()
            .contains("missing"),
        "{problem}"
    );
}

/// A recovery point whose own object is cut off: named, and the other points are not affected.
#[tokio::test]
async fn a_damaged_point_is_named_and_alone() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    let broken = lab.backup().await["point"].as_str().unwrap().to_owned();
    let whole = lab.backup().await["point"].as_str().unwrap().to_owned();
    let end = lab
        .vault()
        .join("sessions")
        .join(format!("{}.end", broken.replace('-', "")));
    let bytes = fs::read(&end).unwrap();
    fs::write(&end, &bytes[..bytes.len() / 2]).unwrap();

    let problem = lab
        .run(&["points", "show", &broken])
        .await
        .raises("VaultDamaged");
    let object = problem["fields"]["object"].as_str().unwrap();
    assert!(end.ends_with(object), "{problem}");
    let listed = lab.run(&["points", "list"]).await.lines();
    assert_eq!(listed.len(), 1, "{listed:?}");
    lab.run(&["verify", &whole]).await.ok();
    lab.run(&["verify", &broken]).await.raises("VaultDamaged");
}
