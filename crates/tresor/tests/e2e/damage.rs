//! A vault with damage in it.

use std::{fs, path::PathBuf};

use tresor_testkit::Guest;

use crate::lab::{Lab, VM};

fn packs(lab: &Lab) -> Vec<PathBuf> {
    let mut found: Vec<(u64, PathBuf)> = fs::read_dir(lab.vault().join("packs"))
        .unwrap()
        .flat_map(|dir| fs::read_dir(dir.unwrap().path()).unwrap())
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.metadata().unwrap().len(), entry.path()))
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// A flipped bit in the largest pack: restore names chunk and disk and leaves no image; verify
/// says the same; the VM's next backup is not refused.
#[tokio::test]
async fn a_damaged_pack_is_named_by_chunk_and_disk() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    let point = lab.backup().await["point"].as_str().unwrap().to_owned();
    let pack = packs(&lab).remove(0);
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    fs::write(&pack, bytes).unwrap();

    let to = lab.path("to");
    let problem = lab.run(&["restore", &point, "--to", to.to_str().unwrap()]).await.raises("ChunkDamaged");
    let fields = &problem["fields"];
    assert!(fields["chunk"].as_str().unwrap().len() >= 16, "{problem}");
    assert!(guest.disks().iter().any(|disk| disk.name == fields["disk"].as_str().unwrap()), "{problem}");
    let object = fields["object"].as_str().unwrap();
    assert!(pack.ends_with(object), "{object} is not {}", pack.display());
    let whole = fs::read_dir(&to).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_str().unwrap().contains(fields["disk"].as_str().unwrap())
            && !name.to_str().unwrap().contains(".partial")
    });
    assert_eq!(whole.count(), 0, "a damaged disk never gets its final name");

    lab.run(&["verify", &point]).await.raises("ChunkDamaged");
    lab.backup().await;
}

/// A vault whose header is cut off, or that lost an object it needs, says so.
#[tokio::test]
async fn a_lost_object_is_named() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    for pack in packs(&lab) {
        fs::remove_file(pack).unwrap();
    }
    let to = lab.path("to");
    let latest = format!("latest:{VM}");
    lab.run(&["restore", &latest, "--to", to.to_str().unwrap()]).await.raises("VaultDamaged");
}
