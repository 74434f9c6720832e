//! The kit itself: real guests on every QEMU that is supported.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tresor_testkit::{
    DiskFormat, Guest, GuestBuilder, LONG, Monitor, Qemu, check_ext4, compare_images,
};

fn with_data() -> GuestBuilder {
    Guest::builder().data_disk()
}

/// Runs a command that must succeed.
async fn ok(guest: &Guest, command: &str) -> String {
    guest.exec(command).await.unwrap().ok().unwrap()
}

async fn boots_and_answers(qemu: Qemu) {
    let guest = with_data().qemu(qemu).saved_state(false).start().await;
    let guest = guest.unwrap();
    let answer = guest.exec("echo out; echo err >&2; exit 7").await.unwrap();
    assert_eq!((answer.code, answer.output.as_str()), (7, "out\nerr\n"));
    let mounts = ok(&guest, "cat /proc/mounts").await;
    assert!(mounts.contains("/dev/vda / ext4 rw"), "{mounts}");
    assert!(mounts.contains("/dev/vdb /data ext4 rw"), "{mounts}");
    assert_eq!(guest.monitor().unwrap().status().await.unwrap(), "running");
}

#[tokio::test]
async fn a_guest_boots_on_the_hosts_qemu() {
    boots_and_answers(Qemu::Host).await;
}

#[tokio::test]
async fn a_guest_boots_on_qemu_7_2() {
    boots_and_answers(Qemu::V7_2).await;
}

#[tokio::test]
async fn a_guest_starts_from_a_saved_state_with_the_time_of_now() {
    for _ in 0..2 {
        let guest = with_data().iothread(true).start().await.unwrap();
        let host = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let there: u64 = ok(&guest, "date +%s").await.trim().parse().unwrap();
        assert!(there.abs_diff(host) < 100, "guest {there}, host {host}");
    }
}

#[tokio::test]
async fn fsynced_records_survive_a_killed_qemu() {
    let mut guest = with_data().start().await.unwrap();
    let write = "tresor-workload log --dir /data/log --interval-ms 1";
    guest.start_background(write).await.unwrap();
    let wait = "until [ \"$(cat /run/tresor/log.last 2>/dev/null || echo 0)\" -ge 20 ]; \
                do sleep 0.05; done; cat /run/tresor/log.last";
    let synced: u64 = ok(&guest, wait).await.trim().parse().unwrap();
    guest.kill().await.unwrap();
    guest.restart().await.unwrap();
    let verify = format!("tresor-workload verify log --dir /data/log --at-least {synced}");
    let verdict: Value = serde_json::from_str(&ok(&guest, &verify).await).unwrap();
    assert_eq!(verdict["checksums_off"], 0);
    assert!(verdict["last"].as_u64().unwrap() >= synced);
    // And it goes on after the last whole record.
    let more = "tresor-workload log --dir /data/log --count 5 && \
                tresor-workload verify log --dir /data/log";
    ok(&guest, more).await;
}

#[tokio::test]
async fn every_writer_leaves_what_its_verifier_accepts() {
    let guest = with_data().empty_disk("second", DiskFormat::Raw, 64);
    let guest = guest.start().await.unwrap();
    for (write, verify) in [
        ("log --dir /data/l", "log --dir /data/l --at-least 10"),
        (
            "rename-journal --dir /data/r",
            "rename-journal --dir /data/r",
        ),
        (
            "alternate --a /data --b /data2",
            "alternate --a /data --b /data2",
        ),
    ] {
        let write = format!("tresor-workload {write} --count 10");
        ok(
            &guest,
            &format!("{write} && tresor-workload verify {verify}"),
        )
        .await;
    }
    let latency = "tresor-workload latency --dir /data/t --count 20 && \
                   cat /run/tresor/latency.json";
    let seen: Value = serde_json::from_str(&ok(&guest, latency).await).unwrap();
    assert_eq!(seen["writes"], 20);
    let churn = "tresor-workload churn --dir /data/c --mib 4 --file-mib 8 --delete";
    let made = ok(&guest, churn).await;
    assert!(made.contains("\"written\":4194304"), "{made}");
}

#[tokio::test]
async fn what_is_damaged_is_not_accepted() {
    let guest = with_data().start().await.unwrap();
    let damaged_log = "tresor-workload log --dir /data/l --count 10 && \
        printf X | dd of=/data/l/tresor.log bs=1 seek=100 conv=notrunc 2>/dev/null; \
        tresor-workload verify log --dir /data/l";
    let lost_journal = "tresor-workload rename-journal --dir /data/r --count 10 && \
        sed -i '$d' /data/r/journal; tresor-workload verify rename-journal --dir /data/r";
    for command in [damaged_log, lost_journal] {
        let answer = guest.exec(command).await.unwrap();
        assert_eq!(answer.code, 1, "{}", answer.output);
        assert!(answer.output.contains("\"ok\":false"), "{}", answer.output);
    }
}

#[tokio::test]
async fn an_io_error_of_a_writer_is_recorded_loudly() {
    let guest = with_data().start().await.unwrap();
    let full = "mount -t tmpfs -o size=64k small /mnt 2>/dev/null || \
        { mkdir -p /mnt && mount -t tmpfs -o size=64k small /mnt; }; \
        tresor-workload churn --dir /mnt --mib 1 --file-mib 1; echo code=$?; \
        cat /run/tresor/io-error";
    let printed = ok(&guest, full).await;
    assert!(printed.contains("code=3"), "{printed}");
    assert!(printed.contains("I/O ERROR: write /mnt/churn"), "{printed}");
}

#[tokio::test]
async fn the_hook_parks_the_writer_and_a_frozen_guest_takes_commands() {
    let guest = with_data().start().await.unwrap();
    let write = "tresor-workload rename-journal --dir /data/r --files 8";
    guest.start_background(write).await.unwrap();
    let lines = "$(cat /data/r/journal 2>/dev/null | wc -l)";
    ok(
        &guest,
        &format!("until [ {lines} -ge 8 ]; do sleep 0.05; done"),
    )
    .await;

    let park = "/etc/tresor/fsfreeze-hook freeze && ls /run/tresor/parked-*";
    ok(&guest, park).await;
    ok(&guest, "fsfreeze --freeze /data").await;
    // A command that hangs in the frozen file system does not keep others waiting.
    let stuck = guest.exec_within("touch /data/stuck", Duration::from_secs(2));
    assert!(stuck.await.is_err());
    ok(
        &guest,
        "tresor-workload verify rename-journal --dir /data/r",
    )
    .await;
    ok(
        &guest,
        "fsfreeze --unfreeze /data && /etc/tresor/fsfreeze-hook thaw",
    )
    .await;

    let moves = format!("a={lines}; until [ {lines} -gt $a ]; do sleep 0.05; done");
    ok(&guest, &moves).await;
    ok(&guest, "until [ -e /data/stuck ]; do sleep 0.05; done").await;
}

#[tokio::test]
async fn copies_are_the_disks() {
    let dir = tempfile::tempdir().unwrap();
    let mut guest = with_data().start().await.unwrap();
    ok(&guest, "echo kept >/data/file && sync").await;
    guest.power_off().await.unwrap();
    let copies = guest.copy_disks(dir.path()).await.unwrap();
    for (copy, disk) in copies.iter().zip(guest.disks()) {
        check_ext4(&copy.path).await.unwrap();
        assert_eq!(compare_images(&copy.path, &disk.path).await.unwrap(), None);
    }
    guest.restart().await.unwrap();
    ok(&guest, "fsfreeze --freeze /data").await;
    let paused = tempfile::tempdir().unwrap();
    let copies = guest.pause_and_copy_disks(paused.path()).await.unwrap();
    ok(&guest, "fsfreeze --unfreeze /data").await;
    check_ext4(&copies[1].path).await.unwrap();
    assert_eq!(ok(&guest, "cat /data/file").await, "kept\n");
}

#[tokio::test]
async fn the_product_has_a_monitor_and_an_agent_channel_of_its_own() {
    let guest = with_data().name("of-its-own").start().await.unwrap();
    let second = Monitor::connect(&guest.qmp_socket()).await.unwrap();
    let name = second.execute("query-name", json!({})).await.unwrap();
    assert_eq!(name["name"], "of-its-own");

    let agent = tokio::net::UnixStream::connect(guest.agent_socket()).await;
    let mut agent = BufReader::new(agent.unwrap());
    let sync = b"\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":77}}\n";
    agent.write_all(sync).await.unwrap();
    // Before the answer comes the agent's complaint about the byte that cut its input.
    let answered = async {
        let mut line = Vec::new();
        while !String::from_utf8_lossy(&line).contains("77") {
            line.clear();
            assert_ne!(agent.read_until(b'\n', &mut line).await.unwrap(), 0);
        }
    };
    tokio::time::timeout(LONG, answered).await.unwrap();
}

#[tokio::test]
async fn no_qemu_outlives_its_guest() {
    let guest = with_data().start().await.unwrap();
    let process = format!("/proc/{}", guest.pid().unwrap());
    assert!(Path::new(&process).exists());
    drop(guest);
    assert!(!Path::new(&process).exists());
}

#[tokio::test]
async fn a_guest_that_cannot_start_says_why() {
    let broken = Guest::builder()
        .saved_state(false)
        .extra_arguments(&["-device", "no-such-device"]);
    let message = format!("{:#}", broken.start().await.unwrap_err());
    assert!(message.contains("no-such-device"), "{message}");
}
