//! Restores.

use std::{fs, path::Path, process::Command};

use tresor_testkit::{Guest, compare_images};

use crate::lab::{Lab, VM, restored, write_private};

/// Nothing but the vault and its recovery key: an empty state directory, the recovery key typed
/// into a file.
#[tokio::test]
async fn the_vault_and_its_recovery_key_are_enough() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    guest
        .monitor()
        .unwrap()
        .execute("stop", serde_json::Value::Null)
        .await
        .unwrap();
    lab.backup().await;
    let copies = lab.path("copies");
    fs::create_dir(&copies).unwrap();
    let copies = guest.copy_disks(&copies).await.unwrap();
    fs::remove_dir_all(lab.state()).unwrap();
    let key = lab.path("recovery.txt");
    write_private(&key, &format!("{}\n", lab.recovery_key));

    let vault = lab.vault();
    let vault = vault.to_str().unwrap();
    let latest = format!("latest:{VM}");
    let access = ["--vault", vault, "--key-file", key.to_str().unwrap()];
    for format in ["raw", "qcow2"] {
        let to = lab.path(format);
        let to_text = to.to_str().unwrap();
        let args = [
            &["restore", &latest, "--to", to_text, "--format", format],
            &access[..],
        ]
        .concat();
        lab.run_elsewhere(&args).await.ok();
        for copy in &copies {
            let image = restored(&to, copy, format);
            let difference = compare_images(&copy.path, &image).await.unwrap();
            assert!(
                difference.is_none(),
                "{format} {}: {difference:?}",
                copy.name
            );
        }
    }
    let to = lab.path("qcow2");
    for copy in &copies {
        let image = restored(&to, copy, "qcow2");
        let check = Command::new("qemu-img")
            .arg("check")
            .arg(&image)
            .output()
            .unwrap();
        assert!(
            check.status.success(),
            "{}",
            String::from_utf8_lossy(&check.stdout)
        );
    }
    let machine: serde_json::Value =
        serde_json::from_slice(&fs::read(to.join("machine.json")).unwrap()).unwrap();
    assert_eq!(machine["disks"].as_array().unwrap().len(), 2);
    assert!(to.join("boot.sh").exists());
}

/// An interrupted restore goes on where it stopped.
#[tokio::test]
async fn an_interrupted_restore_goes_on() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    guest
        .exec("tresor-workload churn --dir /data/big --mib 192 --file-mib 192 && sync")
        .await
        .unwrap()
        .ok()
        .unwrap();
    let lab = Lab::with(&guest).await;
    let point = lab.backup().await["point"].as_str().unwrap().to_owned();
    let to = lab.path("to");
    let args = [
        "restore",
        &point,
        "--to",
        to.to_str().unwrap(),
        "--format",
        "raw",
    ];
    // Killed at a moment of its own choosing: as soon as a journal names a window.
    let mut child = lab.command(&args).spawn().unwrap();
    let journaled = |dir: &Path| {
        fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| {
                entry
                    .file_name()
                    .to_str()
                    .is_some_and(|name| name.ends_with(".journal"))
                    && fs::read_to_string(entry.path()).is_ok_and(|text| text.lines().count() > 1)
            })
    };
    while !journaled(&to) && child.try_wait().unwrap().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    child.start_kill().unwrap();
    child.wait().await.unwrap();
    if journaled(&to) {
        let result = lab.run(&[&args[..], &["--overwrite"]].concat()).await.ok();
        let resumed: u64 = result["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["resumed"].as_u64().unwrap())
            .sum();
        assert!(resumed > 0, "{result}");
    }
    let whole = lab.restore_raw(&point, "whole").await;
    for disk in guest.disks() {
        let (a, b) = (restored(&to, disk, "raw"), restored(&whole, disk, "raw"));
        assert!(compare_images(&a, &b).await.unwrap().is_none());
    }
}

/// Everything that this machine knew is lost: with the vault and its recovery key backups go on,
/// incrementally.
#[tokio::test]
async fn a_lost_catalog_costs_no_full_backup() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    lab.backup().await;
    fs::remove_dir_all(lab.state()).unwrap();
    let key = lab.path("recovery.txt");
    write_private(&key, &lab.recovery_key);
    let vault = lab.vault();
    let args = [
        "vault",
        "add",
        vault.to_str().unwrap(),
        "--key-file",
        key.to_str().unwrap(),
    ];
    lab.run(&args).await.ok();
    fs::remove_file(&key).unwrap();
    lab.register(&guest).await.ok();
    let point = lab.backup().await;
    assert_eq!(
        point["disks"][1]["read_mode"]["mode"], "incremental",
        "{point}"
    );
    assert_eq!(lab.run(&["points", "list"]).await.lines().len(), 2);
}
