//! What a recovery point is consistent in.

use serde_json::Value;
use tresor_testkit::{DiskFormat, Guest, check_ext4};

use crate::lab::{Lab, VM, assert_unharmed, restored};

async fn guest() -> Guest {
    Guest::builder()
        .data_disk()
        .iothread(true)
        .start()
        .await
        .unwrap()
}

/// Boots a guest from restored images.
async fn boot(dir: &std::path::Path, original: &Guest) -> Guest {
    let disks = original.disks();
    let image = |at: usize| restored(dir, &disks[at], "qcow2");
    Guest::builder()
        .system_from(DiskFormat::Qcow2, image(0))
        .disk_from(&disks[1].name, DiskFormat::Qcow2, image(1))
        .start()
        .await
        .unwrap()
}

async fn restore(lab: &Lab, point: &Value) -> std::path::PathBuf {
    let to = lab.path("restored");
    let id = point["point"].as_str().unwrap();
    lab.run(&["restore", id, "--to", to.to_str().unwrap()])
        .await
        .ok();
    to
}

/// A writer alternates between two disks; a backup that takes one disk later than the other
/// restores a pair that never existed.
#[tokio::test]
async fn two_disks_are_of_one_moment_without_a_freeze() {
    let guest = guest().await;
    let lab = Lab::new().await;
    let qmp = guest.qmp_socket();
    lab.run(&["vm", "add", VM, "--qmp", qmp.to_str().unwrap()])
        .await
        .ok();
    guest
        .start_background("tresor-workload alternate --a /a --b /data/b --interval-ms 0")
        .await
        .unwrap();
    let begun = "while [ ! -e /run/tresor/alternate.last ]; do sleep 0.05; done";
    guest.exec(begun).await.unwrap().ok().unwrap();
    let point = lab.backup().await;
    assert_eq!(point["consistency"]["achieved"], "crash", "{point}");
    assert!(
        point["consistency"]["frozen_us"].is_u64(),
        "the VM was held for the swap: {point}"
    );
    assert_unharmed(&guest).await;

    let to = restore(&lab, &point).await;
    let again = boot(&to, &guest).await;
    let verdict = again
        .exec("tresor-workload verify alternate --a /a --b /data/b")
        .await
        .unwrap();
    verdict.ok().unwrap();
}

/// File systems frozen: nothing to replay, and a workload that is consistent only when quiesced
/// has not one checksum off, thanks to the hook.
#[tokio::test]
async fn a_frozen_guest_restores_clean_and_quiesced() {
    let guest = guest().await;
    let lab = Lab::with(&guest).await;
    guest
        .start_background("tresor-workload rename-journal --dir /data/rj")
        .await
        .unwrap();
    guest
        .start_background("tresor-workload log --dir /log")
        .await
        .unwrap();
    let begun =
        "while [ ! -e /run/tresor/log.last ] || [ ! -s /data/rj/journal ]; do sleep 0.05; done";
    guest.exec(begun).await.unwrap().ok().unwrap();
    let before = guest
        .exec("cat /run/tresor/log.last")
        .await
        .unwrap()
        .ok()
        .unwrap();
    let point = lab.backup().await;
    assert_eq!(point["consistency"]["achieved"], "application", "{point}");
    assert_eq!(
        point["consistency"]["file_systems_frozen"], point["consistency"]["file_systems_thawed"],
        "{point}"
    );
    assert_unharmed(&guest).await;

    let raw = lab
        .restore_raw(point["point"].as_str().unwrap(), "raw")
        .await;
    for disk in guest.disks() {
        check_ext4(&restored(&raw, disk, "raw")).await.unwrap();
    }
    let to = restore(&lab, &point).await;
    let again = boot(&to, &guest).await;
    let verify = format!(
        "tresor-workload verify log --dir /log --at-least {}",
        before.trim()
    );
    again.exec(&verify).await.unwrap().ok().unwrap();
    let verdict = again
        .exec("tresor-workload verify rename-journal --dir /data/rj")
        .await
        .unwrap();
    verdict.ok().unwrap();
}

/// The agent stops answering in the middle of the freeze: the point is crash-consistent and says
/// why, and the guest is not left frozen when the agent comes back.
#[tokio::test]
async fn an_agent_that_hangs_in_the_freeze_costs_consistency_only() {
    let guest = guest().await;
    let lab = Lab::with(&guest).await;
    let hang = "printf '#!/bin/sh\\n[ \"$1\" = freeze ] && kill -STOP $(pidof qemu-ga)\\nexit 0\\n' \
                > /etc/tresor/fsfreeze-hook.d/99-hang && chmod 755 /etc/tresor/fsfreeze-hook.d/99-hang";
    guest.exec(hang).await.unwrap().ok().unwrap();
    let run = lab
        .command(&["backup", VM, "--freeze-limit", "2"])
        .spawn()
        .unwrap();
    // An agent that hangs for good ends in GuestLeftFrozen (problems.rs); this one comes back.
    guest
        .exec("sleep 6; rm /etc/tresor/fsfreeze-hook.d/99-hang; kill -CONT $(pidof qemu-ga)")
        .await
        .unwrap();
    let point = crate::lab::finish(&["backup"], run).await.ok();
    assert_eq!(point["consistency"]["achieved"], "crash", "{point}");
    let attempts = point["consistency"]["attempts"].as_array().unwrap();
    assert!(attempts[0]["failure"].is_string(), "{point}");
    assert_unharmed(&guest).await;
}

/// An agent that is there and never answers.
#[tokio::test]
async fn a_silent_agent_costs_consistency_only() {
    let guest = guest().await;
    let lab = Lab::with(&guest).await;
    guest
        .exec("kill -STOP $(pidof qemu-ga)")
        .await
        .unwrap()
        .ok()
        .unwrap();
    let point = lab.backup().await;
    assert_eq!(point["consistency"]["achieved"], "crash", "{point}");
    assert_unharmed(&guest).await;
}
