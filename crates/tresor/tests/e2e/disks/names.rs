//! Disks that come, go and change their names.

use serde_json::Value;

use super::{Disks, assert_restored, copy, disk, mode, reason};
use crate::lab::{Lab, assert_unharmed};

/// Disks without ids are named by their place: when one is added before the other, both keep what
/// was known of them.
#[tokio::test]
async fn disks_that_come_go_and_change_their_names() {
    let mut disks = Disks::new();
    let old = disks.create(&["-f", "qcow2"], "old.qcow2").await;
    disks.disk("old", "qcow2", "", &old, "virtio-blk-pci");
    let mut guest = disks.boot().await;
    let lab = Lab::with(&guest).await;
    let first = lab.backup().await;
    let name_before = first["disks"][1]["name"].as_str().unwrap().to_owned();
    guest.quit().await.unwrap();

    let with_old = disks.words.clone();
    disks.words.clear();
    let new = disks.create(&["-f", "qcow2"], "new.qcow2").await;
    disks.disk("new", "qcow2", "", &new, "virtio-blk-pci");
    disks.words.extend(with_old);
    guest.set_extra_arguments(&disks.words());
    guest.restart().await.unwrap();
    let monitor = guest.monitor().unwrap();
    monitor.execute("stop", Value::Null).await.unwrap();
    let second = lab.backup().await;
    monitor.execute("cont", Value::Null).await.unwrap();
    let same_name = reason(&second, &name_before);
    assert!(same_name.contains("no earlier recovery point"), "{second}");
    let renamed = second["disks"].as_array().unwrap().iter();
    let renamed = renamed
        .map(|disk| disk["name"].as_str().unwrap())
        .find(|name| *name != name_before && !name.starts_with("dev-"));
    let renamed = renamed.unwrap_or_else(|| panic!("{second}")).to_owned();
    assert_eq!(mode(&second, &renamed), "incremental", "{second}");
    assert_eq!(
        disk(&second, &renamed).unwrap()["stats"]["changed"],
        0,
        "{second}"
    );
    let copies = [
        (renamed.as_str(), lab.path("old.copy")),
        (name_before.as_str(), lab.path("new.copy")),
    ];
    copy("qcow2", &old, &copies[0].1).await;
    copy("qcow2", &new, &copies[1].1).await;
    assert_restored(&lab, &second, "second", &copies).await;
    assert_unharmed(&guest).await;

    guest.set_extra_arguments(&[]);
    guest.restart().await.unwrap();
    let third = lab.backup().await;
    assert_eq!(third["disks"].as_array().unwrap().len(), 1, "{third}");
    assert_eq!(mode(&third, "dev-system"), "incremental", "{third}");
    assert_unharmed(&guest).await;
    lab.run(&["verify"]).await.ok();
}
