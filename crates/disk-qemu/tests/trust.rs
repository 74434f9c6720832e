//! What becomes of the trust in a bitmap when something happens to a real disk between two
//! snapshots: a grown disk, a chain that changes, other tools.
#![allow(missing_docs)]

mod vm;

use serde_json::{Value, json};
use tresor_disk::{BitmapJudgement, ExtentKind, Outcome, PauseMode, SnapshotProvider};
use tresor_model::{Extent, Fact, Observation, ReadMode, TrackingLedger};
use vm::{DISK, GRAIN, Vm, judgement, ledger, snapshot, stream};

/// A committed snapshot of `vda`.
async fn backed_up(vm: &Vm, before: Option<&TrackingLedger>) -> (TrackingLedger, ReadMode) {
    let provider = vm.provider().await;
    let request = vm.request(&[("vda", before)]);
    let session = snapshot(&provider, request, PauseMode::StopVm).await;
    let tracking = ledger(session.as_ref(), "vda");
    let mode = session.disks().first().expect("one").read_mode.clone();
    session.end(Outcome::Committed).await.expect("ends");
    (tracking, mode)
}

/// How `vda` would be read now, and what was seen of it.
async fn judged(vm: &Vm, before: &TrackingLedger) -> (String, Vec<Fact>) {
    let provider = vm.provider().await;
    let request = vm.request(&[("vda", Some(before))]);
    let prepared = provider.prepare(request).await.expect("prepares");
    let verdict = match judgement(prepared.as_ref(), "vda") {
        BitmapJudgement::Trusted { .. } => "trusted".to_owned(),
        BitmapJudgement::ReadAll { reason } => reason,
    };
    let facts = prepared.facts();
    prepared.abandon().await.expect("abandons");
    (verdict, facts)
}

async fn qmp(vm: &Vm, command: &str, arguments: Value) -> Value {
    let done = vm.monitor().await.execute(command, arguments).await;
    done.unwrap_or_else(|error| panic!("{command}: {error}"))
}

#[tokio::test]
async fn of_a_grown_disk_the_tail_is_read_too() {
    let vm = Vm::start().await;
    vm.write("vda", 1, 0, 8 * GRAIN).await;
    let (first, _) = backed_up(&vm, None).await;
    vm.write("vda", 2, 2 * GRAIN, GRAIN).await;
    let larger = DISK + 4 * GRAIN + 512;
    let resize = json!({"node-name": "node-a", "size": larger});
    qmp(&vm, "block_resize", resize).await;
    vm.write("vda", 3, DISK + 2 * GRAIN, GRAIN).await;

    let provider = vm.provider().await;
    let request = vm.request(&[("vda", Some(&first))]);
    let prepared = provider.prepare(request).await.expect("prepares");
    let facts = prepared.facts();
    assert_eq!(facts[0].name, "disk.vda.grown-from", "{facts:?}");
    let session = prepared.take(PauseMode::StopVm).await.expect("takes");
    let disk = session.disks().first().expect("one").clone();
    assert!(
        matches!(disk.read_mode, ReadMode::Incremental { .. }),
        "{disk:?}"
    );
    assert_eq!(disk.size, larger);
    let window = Extent::between(0, larger);
    let listed = session
        .extents(&stream("vda"), window)
        .await
        .expect("lists");
    let bytes: Vec<_> = listed
        .iter()
        .map(|found| (found.extent, found.kind))
        .collect();
    let expected = [
        (Extent::between(2 * GRAIN, 3 * GRAIN), ExtentKind::Data),
        (Extent::between(DISK, DISK + 2 * GRAIN), ExtentKind::Zero),
        (
            Extent::between(DISK + 2 * GRAIN, DISK + 3 * GRAIN),
            ExtentKind::Data,
        ),
        (Extent::between(DISK + 3 * GRAIN, larger), ExtentKind::Zero),
    ];
    assert_eq!(bytes, expected);
    let all = session
        .content(&stream("vda"), window)
        .await
        .expect("lists");
    let whole: u64 = all.iter().map(|found| found.extent.length).sum();
    assert_eq!(whole, larger);
    let second = ledger(session.as_ref(), "vda");
    session.end(Outcome::Committed).await.expect("ends");
    let (verdict, facts) = judged(&vm, &second).await;
    assert_eq!((verdict.as_str(), facts.len()), ("trusted", 0));

    let resize = json!({"node-name": "node-a", "size": DISK});
    qmp(&vm, "block_resize", resize).await;
    assert!(judged(&vm, &second).await.0.contains("shrunk"));
}

/// An overlay, then back to the image below: each is told from a replaced image.
#[tokio::test]
async fn a_chain_that_changes_is_named() {
    let vm = Vm::start().await;
    vm.write("vda", 1, 0, GRAIN).await;
    let (first, _) = backed_up(&vm, None).await;
    let overlay = vm.path("overlay.qcow2").display().to_string();
    let taken = json!({
        "node-name": "node-a", "snapshot-file": overlay, "snapshot-node-name": "over",
        "format": "qcow2",
    });
    qmp(&vm, "blockdev-snapshot-sync", taken).await;
    let (verdict, _) = judged(&vm, &first).await;
    assert!(verdict.contains("external snapshot was taken"), "{verdict}");
    let (second, mode) = backed_up(&vm, Some(&first)).await;
    assert!(matches!(mode, ReadMode::Full { .. }), "{mode:?}");
    assert_eq!(judged(&vm, &second).await.0, "trusted");

    let commit = json!({"job-id": "commit", "device": "over", "auto-finalize": true});
    qmp(&vm, "block-commit", commit).await;
    finish_commit(&vm).await;
    let (verdict, _) = judged(&vm, &second).await;
    assert!(verdict.contains("committed or reverted"), "{verdict}");
}

/// An active commit waits to be completed by hand.
async fn finish_commit(vm: &Vm) {
    loop {
        let jobs = qmp(vm, "query-jobs", json!({})).await;
        let Some(job) = jobs.as_array().and_then(|jobs| jobs.first()) else {
            return;
        };
        if job["status"] == "ready" {
            qmp(vm, "job-complete", json!({"id": "commit"})).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn other_tools_bitmaps_are_noted_and_left_alone() {
    let vm = Vm::start().await;
    let bitmap = |name: &str| json!({"node": "node-a", "name": name});
    let mut add = bitmap("somebodys");
    add["persistent"] = true.into();
    qmp(&vm, "block-dirty-bitmap-add", add).await;
    let (first, _) = backed_up(&vm, None).await;
    vm.write("vda", 2, GRAIN, GRAIN).await;
    let (verdict, facts) = judged(&vm, &first).await;
    assert_eq!(verdict, "trusted");
    assert_eq!(facts[0].name, "disk.vda.foreign-bitmaps");
    let value = json!(["somebodys"]);
    assert_eq!(facts[0].observation, Observation::Present { value });
    let (second, _) = backed_up(&vm, Some(&first)).await;
    let bitmaps = vm.bitmaps("vda.qcow2").await;
    let theirs = bitmaps
        .iter()
        .find(|b| b.name.as_deref() == Some("somebodys"));
    let theirs = theirs.expect("left alone");
    assert!(theirs.recording && theirs.count == GRAIN, "{theirs:?}");

    // They reach for ours.
    let ours = second.bitmap.clone().expect("has one");
    qmp(&vm, "block-dirty-bitmap-disable", bitmap(&ours)).await;
    let (verdict, _) = judged(&vm, &second).await;
    assert!(verdict.contains("does not record"), "{verdict}");
    qmp(&vm, "block-dirty-bitmap-remove", bitmap(&ours)).await;
    let (verdict, _) = judged(&vm, &second).await;
    assert!(verdict.contains("somebody removed it"), "{verdict}");
}

/// QEMU refuses to go back to an internal snapshot while there are bitmaps; whoever does so
/// removes them first, and so it is seen.
#[tokio::test]
async fn an_internal_snapshot_cannot_be_reverted_under_a_bitmap() {
    let mut vm = Vm::start().await;
    let (first, _) = backed_up(&vm, None).await;
    let taken = json!({"device": "node-a", "name": "inner"});
    qmp(&vm, "blockdev-snapshot-internal-sync", taken).await;
    vm.write("vda", 2, GRAIN, GRAIN).await;
    assert_eq!(judged(&vm, &first).await.0, "trusted");
    vm.quit().await;
    let image = vm.path("vda.qcow2");
    let image = image.to_str().expect("UTF-8");
    assert!(!qemu_img(&["snapshot", "-a", "inner", image]));
    let ours = first.bitmap.clone().expect("has one");
    assert!(qemu_img(&["bitmap", "--remove", image, &ours]));
    assert!(qemu_img(&["snapshot", "-a", "inner", image]));
    vm.boot().await;
    let (verdict, _) = judged(&vm, &first).await;
    assert!(
        verdict.contains("reverted to an internal snapshot"),
        "{verdict}"
    );
}

fn qemu_img(words: &[&str]) -> bool {
    let run = std::process::Command::new("qemu-img").args(words).output();
    run.expect("qemu-img").status.success()
}

/// The process is a sign only where the bitmap does not outlive it.
#[tokio::test]
async fn the_ledger_says_which_process_records() {
    let mut vm = Vm::start().await;
    let (first, _) = backed_up(&vm, None).await;
    let process = first.signs.process.clone().expect("seen");
    assert!(!process.boot.is_empty() && process.started > 0);
    assert_eq!(first.signs.chain.as_deref(), Some(&[][..]));
    vm.quit().await;
    vm.boot().await;
    let (second, mode) = backed_up(&vm, Some(&first)).await;
    assert!(matches!(mode, ReadMode::Incremental { .. }), "{mode:?}");
    assert_ne!(second.signs.process, Some(process));
    let bitmaps = second.signs.bitmaps.expect("seen");
    assert_eq!(bitmaps, [first.bitmap.expect("has one")]);
}

/// QEMU's counters of the guest's writes, while somebody holds the socket and while nobody does.
#[tokio::test]
async fn the_guests_writes_are_counted() {
    let vm = Vm::start().await;
    let provider = vm.provider().await;
    let before = provider.guest_writes().await.expect("answers");
    vm.write("vda", 1, 0, GRAIN).await;
    let after = provider.guest_writes().await.expect("answers");
    assert!(after.count >= before.count && after.time >= before.time);
    let held = tresor_qmp::Client::connect(vm.path("qmp"), tresor_qmp::ConnectOptions::default());
    let held = held.await.expect("connects");
    assert_eq!(provider.guest_writes().await, None);
    drop(held);
}
