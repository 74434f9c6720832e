//! Crashes of ours at every step, and of QEMU: nothing of ours stays, nothing of others goes, and
//! the next backup is right.
//!
//! A crash of ours is a dropped session (or prepared snapshot) and a `release` by a provider that
//! knows nothing but the tag.
#![allow(missing_docs)]

mod vm;

use serde_json::json;
use tresor_disk::{
    BitmapJudgement, ErrorKind, Orphan, Outcome, PauseMode, Prepared, SnapshotProvider,
};
use tresor_disk_qemu::{QemuConfig, QemuProvider};
use tresor_model::{Extent, SnapshotTag, TrackingLedger};
use tresor_qmp::Client;
use vm::{
    GRAIN, Vm, assert_same, blank, grains, judgement, ledger, paint, restore, snapshot, stream,
};

const NONE: Vec<String> = Vec::new();

/// A first full of `vda` with one written grain; its ledger and what was restored.
async fn first_full(vm: &Vm) -> (TrackingLedger, Vec<u8>) {
    let provider = vm.provider().await;
    vm.write("vda", 1, 0, GRAIN).await;
    let session = snapshot(&provider, vm.request(&[("vda", None)]), PauseMode::StopVm).await;
    let mut restored = blank();
    restore(session.as_ref(), "vda", &mut restored).await;
    let first = ledger(session.as_ref(), "vda");
    session.end(Outcome::Committed).await.expect("ends");
    (first, restored)
}

fn reason(prepared: &dyn Prepared) -> String {
    match judgement(prepared, "vda") {
        BitmapJudgement::Trusted { bitmap } => format!("trusted {bitmap}"),
        BitmapJudgement::ReadAll { reason } => reason,
    }
}

async fn judged(vm: &Vm, previous: &TrackingLedger) -> String {
    let request = vm.request(&[("vda", Some(previous))]);
    let prepared = vm
        .provider()
        .await
        .prepare(request)
        .await
        .expect("prepares");
    let reason = reason(prepared.as_ref());
    prepared.abandon().await.expect("abandons");
    reason
}

/// How far a snapshot comes before the crash.
#[derive(Debug, Clone, Copy)]
enum Crash {
    Prepared,
    Taken,
    Activated,
}

async fn crash(vm: &Vm, at: Crash, previous: &TrackingLedger) -> SnapshotTag {
    let request = vm.request(&[("vda", Some(previous)), ("vdb", None)]);
    let tag = request.tag.clone();
    let prepared = vm
        .provider()
        .await
        .prepare(request)
        .await
        .expect("prepares");
    if matches!(at, Crash::Prepared) {
        return tag;
    }
    let session = prepared.take(PauseMode::StopVm).await.expect("takes");
    if matches!(at, Crash::Activated) {
        grains(session.as_ref(), "vda").await;
    }
    tag
}

#[tokio::test]
async fn after_a_crash_at_any_step_release_cleans_and_the_next_backup_is_right() {
    for at in [Crash::Prepared, Crash::Taken, Crash::Activated] {
        let vm = Vm::start().await;
        let (first, mut restored) = first_full(&vm).await;
        let mut truth = restored.clone();
        vm.write("vda", 2, 3 * GRAIN, GRAIN).await;
        paint(&mut truth, 2, 3 * GRAIN, GRAIN);
        let tag = crash(&vm, at, &first).await;
        vm.write("vda", 3, 6 * GRAIN, GRAIN).await;
        paint(&mut truth, 3, 6 * GRAIN, GRAIN);

        let provider = vm.provider().await;
        let orphans = provider
            .find_orphans(std::slice::from_ref(&first))
            .await
            .expect("asks");
        assert_eq!(
            orphans,
            vec![Orphan {
                tag: tag.clone(),
                only_bitmaps: false
            }],
            "{at:?}"
        );
        let report = provider
            .release(&tag, Outcome::Abandoned)
            .await
            .expect("releases");
        assert!(!report.is_empty());
        assert_eq!(vm.leftovers().await, NONE, "{at:?}");
        assert!(vm.is_running().await);
        let again = provider
            .release(&tag, Outcome::Abandoned)
            .await
            .expect("releases again");
        assert!(again.is_empty(), "{at:?} {again:?}");
        assert!(
            provider
                .find_orphans(std::slice::from_ref(&first))
                .await
                .expect("asks")
                .is_empty()
        );
        assert_eq!(
            vm.bitmap_names("vda.qcow2").await,
            [first.bitmap.clone().expect("has one")]
        );
        assert_eq!(vm.bitmap_names("vdb.qcow2").await, NONE);

        let request = vm.request(&[("vda", Some(&first))]);
        let session = snapshot(&provider, request, PauseMode::StopVm).await;
        let changed = grains(session.as_ref(), "vda").await;
        let touched: Vec<u64> = changed.iter().map(|(at, _, _)| *at).collect();
        assert_eq!(touched, [3, 6], "{at:?}");
        restore(session.as_ref(), "vda", &mut restored).await;
        assert_same(&restored, &truth);
        session.end(Outcome::Committed).await.expect("ends");
    }
}

#[tokio::test]
async fn a_commit_that_crashed_before_its_end_is_ended_by_tag() {
    let vm = Vm::start().await;
    let (first, mut restored) = first_full(&vm).await;
    vm.write("vda", 2, 2 * GRAIN, GRAIN).await;
    let provider = vm.provider().await;
    let request = vm.request(&[("vda", Some(&first))]);
    let tag = request.tag.clone();
    let session = snapshot(&provider, request, PauseMode::StopVm).await;
    restore(session.as_ref(), "vda", &mut restored).await;
    let second = ledger(session.as_ref(), "vda");
    drop(session);
    vm.write("vda", 3, 4 * GRAIN, GRAIN).await;

    let provider = vm.provider().await;
    provider
        .release(&tag, Outcome::Committed)
        .await
        .expect("releases");
    assert_eq!(
        vm.bitmap_names("vda.qcow2").await,
        [second.bitmap.clone().expect("has one")]
    );
    let request = vm.request(&[("vda", Some(&second))]);
    let session = snapshot(&provider, request, PauseMode::StopVm).await;
    let changed = grains(session.as_ref(), "vda").await;
    assert_eq!(
        changed.iter().map(|(at, _, _)| *at).collect::<Vec<_>>(),
        [4]
    );
    session.end(Outcome::Committed).await.expect("ends");
}

#[tokio::test]
async fn a_vm_that_we_left_stopped_runs_on() {
    let vm = Vm::start().await;
    let request = vm.request(&[("vda", None)]);
    let tag = request.tag.clone();
    // What is there when QEMU lost us between `stop` and `cont`.
    let monitor = vm.monitor().await;
    let mark = json!({"qom-type": "throttle-group", "id": tag.name("stop")});
    monitor.execute("object-add", mark).await.expect("marked");
    monitor.execute("stop", json!({})).await.expect("stopped");
    drop(monitor);
    let provider = vm.provider().await;
    assert_eq!(
        provider.find_orphans(&[]).await.expect("asks"),
        vec![Orphan {
            tag: tag.clone(),
            only_bitmaps: false
        }]
    );
    provider
        .release(&tag, Outcome::Abandoned)
        .await
        .expect("releases");
    assert!(vm.is_running().await);
    assert_eq!(vm.leftovers().await, NONE);
}

/// A guest that stands still waits for no directory.
#[tokio::test]
async fn a_vm_that_we_left_stopped_runs_on_also_when_its_files_cannot_be_looked_for() {
    let vm = Vm::start().await;
    let tag = vm.request(&[("vda", None)]).tag;
    let monitor = vm.monitor().await;
    let mark = json!({"qom-type": "throttle-group", "id": tag.name("stop")});
    monitor.execute("object-add", mark).await.expect("marked");
    monitor.execute("stop", json!({})).await.expect("stopped");
    drop(monitor);
    let no_directory = vm.path("file");
    std::fs::write(&no_directory, "").expect("writes");
    let provider = QemuProvider::unconnected(QemuConfig {
        fleecing_dirs: vec![no_directory],
        ..vm.config()
    });
    let released = provider.release(&tag, Outcome::Abandoned).await;
    assert_eq!(released.expect_err("no directory").kind(), ErrorKind::Host);
    assert!(vm.is_running().await);
}

#[tokio::test]
async fn a_vm_that_an_administrator_stopped_stays_stopped() {
    let vm = Vm::start().await;
    let monitor = vm.monitor().await;
    monitor.execute("stop", json!({})).await.expect("stopped");
    drop(monitor);
    let provider = vm.provider().await;
    let session = snapshot(&provider, vm.request(&[("vda", None)]), PauseMode::StopVm).await;
    assert_eq!(session.paused_for(), None);
    session.end(Outcome::Abandoned).await.expect("ends");
    assert!(!vm.is_running().await);
}

#[tokio::test]
async fn a_clean_restart_keeps_the_bitmap_also_in_the_middle_of_a_snapshot() {
    let mut vm = Vm::start().await;
    let (first, mut restored) = first_full(&vm).await;
    let mut truth = restored.clone();
    vm.write("vda", 2, 3 * GRAIN, GRAIN).await;
    paint(&mut truth, 2, 3 * GRAIN, GRAIN);
    vm.quit().await;
    vm.boot().await;
    assert_eq!(
        judged(&vm, &first).await,
        format!("trusted {}", first.bitmap.clone().expect("one"))
    );

    let tag = crash(&vm, Crash::Activated, &first).await;
    vm.write("vda", 3, 6 * GRAIN, GRAIN).await;
    paint(&mut truth, 3, 6 * GRAIN, GRAIN);
    vm.quit().await;
    vm.boot().await;
    let provider = vm.provider().await;
    provider
        .release(&tag, Outcome::Abandoned)
        .await
        .expect("releases");
    assert_eq!(vm.leftovers().await, NONE);
    let session = snapshot(
        &provider,
        vm.request(&[("vda", Some(&first))]),
        PauseMode::StopVm,
    )
    .await;
    assert!(!grains(session.as_ref(), "vda").await.is_empty());
    assert!(matches!(
        session.disks().first().expect("one").read_mode,
        tresor_model::ReadMode::Incremental { .. }
    ));
    restore(session.as_ref(), "vda", &mut restored).await;
    assert_same(&restored, &truth);
    session.end(Outcome::Committed).await.expect("ends");
}

#[tokio::test]
async fn a_power_cut_makes_the_next_backup_read_everything_and_then_tracking_goes_on() {
    let mut vm = Vm::start().await;
    let (first, _) = first_full(&vm).await;
    vm.quit().await;
    vm.boot().await;
    let tag = crash(&vm, Crash::Taken, &first).await;
    vm.kill();
    vm.boot().await;
    let provider = vm.provider().await;
    provider
        .release(&tag, Outcome::Abandoned)
        .await
        .expect("releases");
    assert_eq!(vm.leftovers().await, NONE);
    let request = vm.request(&[("vda", Some(&first))]);
    let prepared = provider.prepare(request).await.expect("prepares");
    let why = reason(prepared.as_ref());
    assert!(why.contains("inconsistent"), "{why}");
    let session = prepared.take(PauseMode::StopVm).await.expect("takes");
    let second = ledger(session.as_ref(), "vda");
    session.end(Outcome::Committed).await.expect("ends");
    // The broken bitmap is gone, the new one is trusted.
    let name = second.bitmap.clone().expect("has one");
    assert_eq!(vm.bitmap_names("vda.qcow2").await, vec![name.clone()]);
    assert_eq!(judged(&vm, &second).await, format!("trusted {name}"));
}

#[tokio::test]
async fn a_snapshot_ends_with_the_qemu_that_held_it() {
    let mut vm = Vm::start().await;
    let provider = vm.provider().await;
    let request = vm.request(&[("vda", None), ("vdb", None)]);
    let session = snapshot(&provider, request, PauseMode::StopVm).await;
    vm.kill();
    vm.boot().await;
    let Err(error) = session.open(&stream("vda")).await else {
        panic!("opened a snapshot that is gone");
    };
    assert_eq!(error.kind(), ErrorKind::SnapshotLost);
    session.end(Outcome::Abandoned).await.expect("ends");
    assert_eq!(vm.leftovers().await, NONE);

    let session = snapshot(&provider, vm.request(&[("vda", None)]), PauseMode::StopVm).await;
    let reader = session.open(&stream("vda")).await.expect("opens");
    vm.kill();
    let error = reader
        .read(Extent::between(0, GRAIN))
        .await
        .expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::SnapshotLost);
    let error = session
        .end(Outcome::Abandoned)
        .await
        .expect_err("no QEMU to ask");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    vm.boot().await;
    session.end(Outcome::Abandoned).await.expect("ends now");
    assert_eq!(vm.leftovers().await, NONE);
}

#[tokio::test]
async fn a_replaced_image_is_read_in_full() {
    let mut vm = Vm::start().await;
    let (first, _) = first_full(&vm).await;
    vm.quit().await;
    // A copy has the bitmap as well, and yet is another image.
    std::fs::copy(vm.path("vda.qcow2"), vm.path("copy")).expect("copied");
    std::fs::rename(vm.path("copy"), vm.path("vda.qcow2")).expect("replaced");
    vm.boot().await;
    let why = judged(&vm, &first).await;
    assert!(why.contains("replaced"), "{why}");
}

async fn add_foreign(monitor: &Client, path: &str) {
    let bitmap = json!({"node": "node-a", "name": "libvirt-1", "persistent": true});
    monitor
        .execute("block-dirty-bitmap-add", bitmap)
        .await
        .expect("bitmap");
    let node = json!({"driver": "null-co", "node-name": "tresor-notes", "size": 1 << 20});
    monitor.execute("blockdev-add", node).await.expect("node");
    let server = json!({"addr": {"type": "unix", "data": {"path": path}}});
    monitor
        .execute("nbd-server-start", server)
        .await
        .expect("server");
    let export = json!({"type": "nbd", "id": "other", "node-name": "tresor-notes"});
    monitor
        .execute("block-export-add", export)
        .await
        .expect("export");
}

#[tokio::test]
async fn what_is_not_ours_is_not_touched_and_anothers_nbd_server_is_respected() {
    let vm = Vm::start().await;
    let monitor = vm.monitor().await;
    add_foreign(&monitor, &vm.path("foreign").display().to_string()).await;
    drop(monitor);
    let provider = vm.provider().await;
    let request = vm.request(&[("vda", None)]);
    let tag = request.tag.clone();
    let Err(error) = provider.prepare(request).await else {
        panic!("prepared beside another's NBD server");
    };
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("NBD server"), "{error}");
    provider
        .release(&tag, Outcome::Abandoned)
        .await
        .expect("releases");
    assert!(provider.find_orphans(&[]).await.expect("asks").is_empty());

    let monitor = vm.monitor().await;
    let exports = monitor
        .execute("query-block-exports", json!({}))
        .await
        .expect("asks");
    assert_eq!(exports.as_array().expect("list").len(), 1);
    drop(monitor);
    assert_eq!(vm.bitmap_names("vda.qcow2").await, ["libvirt-1"]);
}

#[tokio::test]
async fn an_export_that_another_tool_added_to_our_server_is_left_alone() {
    let vm = Vm::start().await;
    let provider = vm.provider().await;
    let session = snapshot(&provider, vm.request(&[("vda", None)]), PauseMode::StopVm).await;
    let monitor = vm.monitor().await;
    let node = json!({"driver": "null-co", "node-name": "other", "size": 1 << 20});
    monitor.execute("blockdev-add", node).await.expect("node");
    let export = json!({"type": "nbd", "id": "other", "node-name": "other"});
    monitor
        .execute("block-export-add", export)
        .await
        .expect("export");
    drop(monitor);
    let error = session
        .end(Outcome::Abandoned)
        .await
        .expect_err("the server is in use");
    assert_eq!(error.kind(), ErrorKind::Refused);
    // All but the server and its socket is gone.
    assert_eq!(vm.leftovers().await.len(), 1);

    let monitor = vm.monitor().await;
    let removed = monitor
        .execute("block-export-del", json!({"id": "other"}))
        .await;
    removed.expect("still there");
    drop(monitor);
    session.end(Outcome::Abandoned).await.expect("ends");
    assert_eq!(vm.leftovers().await, NONE);
}

#[tokio::test]
async fn a_second_snapshot_beside_a_first_is_refused() {
    let vm = Vm::start().await;
    let provider = vm.provider().await;
    let session = snapshot(&provider, vm.request(&[("vda", None)]), PauseMode::StopVm).await;
    let Err(error) = provider.prepare(vm.request(&[("vda", None)])).await else {
        panic!("prepared twice");
    };
    assert_eq!(error.kind(), ErrorKind::Refused);
    // The first one is unharmed by the refusal.
    let mut restored = blank();
    restore(session.as_ref(), "vda", &mut restored).await;
    session.end(Outcome::Abandoned).await.expect("ends");
    assert_eq!(vm.leftovers().await, NONE);
}

#[tokio::test]
async fn another_vm_and_unknown_disks_are_refused() {
    let vm = Vm::start().await;
    let provider = vm.provider().await;
    let mut request = vm.request(&[("vda", None)]);
    request.vm = tresor_model::VmId::generate();
    let Err(error) = provider.prepare(request).await else {
        panic!("prepared another VM");
    };
    assert_eq!(error.kind(), ErrorKind::WrongVm);
    let Err(error) = provider.prepare(vm.request(&[("nope", None)])).await else {
        panic!("prepared a disk that is not there");
    };
    assert_eq!(
        (error.kind(), error.disk()),
        (ErrorKind::Unsupported, Some("nope"))
    );
    assert_eq!(stream("vda").as_str(), "vda");
    assert_eq!(vm.leftovers().await, NONE);
}
