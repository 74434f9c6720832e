//! VMs that do not run: their images, through a real storage daemon.
#![allow(missing_docs, reason = "tests")]

mod vm;

use std::{path::Path, process::Command};

use tresor_disk::{
    BitmapJudgement, Error, ErrorKind, Outcome, PauseMode, Session, SnapshotProvider, VmState,
};
use tresor_disk_qemu::{QemuConfig, VmProvider};
use tresor_model::{Extent, SnapshotTag, TrackingLedger};

use vm::{
    DISK, DISKS, GRAIN, Vm, assert_same, blank, grains, judgement, ledger, paint, restore,
    snapshot, stream,
};

/// A provider that knows what the VM is, which was seen running.
async fn provider(vm: &Vm) -> VmProvider {
    let described = vm.provider().await.describe().await.expect("describes");
    VmProvider::new(QemuConfig {
        machine: Some(described.machine),
        ..vm.config()
    })
}

/// Both qcow2 disks, each with what the last point knows.
fn wanted(ledgers: &[TrackingLedger]) -> Vec<(&'static str, Option<&TrackingLedger>)> {
    let known = |index: usize| ledgers.get(index);
    let disks = DISKS.iter().enumerate();
    disks.map(|(index, disk)| (*disk, known(index))).collect()
}

fn ledgers(session: &dyn Session) -> Vec<TrackingLedger> {
    DISKS.iter().map(|disk| ledger(session, disk)).collect()
}

/// Takes a snapshot of the VM in whatever state it is.
async fn take(
    vm: &Vm,
    provider: &VmProvider,
    before: &[TrackingLedger],
) -> (SnapshotTag, Box<dyn Session>) {
    provider.describe().await.expect("describes");
    let request = vm.request(&wanted(before));
    let tag = request.tag.clone();
    (tag, snapshot(provider, request, PauseMode::StopVm).await)
}

async fn first_point(vm: &Vm, provider: &VmProvider) -> Vec<TrackingLedger> {
    let (_, session) = take(vm, provider, &[]).await;
    let kept = ledgers(&*session);
    session.end(Outcome::Committed).await.expect("ends");
    kept
}

fn tresor_files(vm: &Vm) -> usize {
    ["fleece", "run"]
        .iter()
        .filter_map(|directory| std::fs::read_dir(vm.path(directory)).ok())
        .map(Iterator::count)
        .sum()
}

/// What the guest wrote last is what is read, no more: also from the stopped VM.
#[tokio::test]
async fn a_stopped_vm_shows_what_changed_and_keeps_recording() {
    let mut vm = Vm::start().await;
    let provider = provider(&vm).await;
    let first = first_point(&vm, &provider).await;
    vm.write("vda", 1, 2 * GRAIN, GRAIN).await;
    vm.quit().await;

    let described = provider.describe().await.expect("describes");
    assert_eq!(described.state, VmState::Stopped);
    let (_, session) = take(&vm, &provider, &first).await;
    assert_eq!(session.paused_for(), None);
    let changed = grains(&*session, "vda").await;
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!((changed[0].0, changed[0].1), (2, 1));
    assert_eq!(grains(&*session, "vdb").await, []);
    let mut expected = blank();
    paint(&mut expected, 1, 2 * GRAIN, GRAIN);
    let mut found = blank();
    restore(&*session, "vda", &mut found).await;
    assert_same(&found, &expected);
    let second = ledgers(&*session);
    session.end(Outcome::Committed).await.expect("ends");
    assert_eq!(tresor_files(&vm), 0);

    vm.boot().await;
    vm.write("vda", 2, 5 * GRAIN, GRAIN).await;
    let (_, session) = take(&vm, &provider, &second).await;
    let changed = grains(&*session, "vda").await;
    assert_eq!((changed.len(), changed[0].0), (1, 5), "{changed:?}");
    session.end(Outcome::Committed).await.expect("ends");
    assert_eq!(vm.bitmap_names("vda.qcow2").await.len(), 1);
    assert_eq!(vm.leftovers().await, Vec::<String>::new());
}

/// Abandoned: the bitmap before is whole, whether the end comes from the session or by the tag.
#[tokio::test]
async fn an_abandoned_snapshot_leaves_the_bitmap_before() {
    let mut vm = Vm::start().await;
    let provider = provider(&vm).await;
    let first = first_point(&vm, &provider).await;
    vm.write("vda", 1, 0, GRAIN).await;
    vm.quit().await;
    let (_, session) = take(&vm, &provider, &first).await;
    session.end(Outcome::Abandoned).await.expect("ends");
    let (tag, session) = take(&vm, &provider, &first).await;
    drop(session); // as a job that unwinds
    provider
        .release(&tag, Outcome::Abandoned)
        .await
        .expect("releases");
    let again = provider.release(&tag, Outcome::Abandoned).await;
    assert!(again.expect("releases twice").is_empty());
    let (_, session) = take(&vm, &provider, &first).await;
    assert_eq!(grains(&*session, "vda").await.len(), 1);
    session.end(Outcome::Committed).await.expect("ends");
    assert_eq!(tresor_files(&vm), 0);
}

/// A tag whose snapshot was taken while the VM was stopped is found and ended while it runs, and
/// the other way round.
#[tokio::test]
async fn tags_are_found_and_ended_in_either_state() {
    let mut vm = Vm::start().await;
    let provider = provider(&vm).await;
    let first = first_point(&vm, &provider).await;
    vm.quit().await;
    assert_eq!(provider.find_orphans(&first).await.expect("asks"), []);
    let (tag, session) = take(&vm, &provider, &first).await;
    drop(session);
    vm_is_free(&vm).await;
    let found = provider.find_orphans(&first).await.expect("asks");
    let found: Vec<_> = found.into_iter().map(|orphan| orphan.tag).collect();
    assert_eq!(found, std::slice::from_ref(&tag));

    vm.boot().await;
    let found = provider.find_orphans(&first).await.expect("asks");
    let found: Vec<_> = found.into_iter().map(|orphan| orphan.tag).collect();
    assert_eq!(found, std::slice::from_ref(&tag));
    provider
        .release(&tag, Outcome::Abandoned)
        .await
        .expect("releases");
    assert_eq!(provider.find_orphans(&first).await.expect("asks"), []);
    let (tag, session) = take(&vm, &provider, &first).await;
    std::mem::forget(session); // as a process that died
    vm.quit().await;
    provider
        .release(&tag, Outcome::Abandoned)
        .await
        .expect("releases");
    assert_eq!(provider.find_orphans(&first).await.expect("asks"), []);
    let prepared = {
        provider.describe().await.expect("describes");
        provider.prepare(vm.request(&wanted(&first))).await
    };
    let prepared = prepared.expect("prepares");
    for disk in DISKS {
        let judged = judgement(&*prepared, disk);
        assert!(
            matches!(judged, BitmapJudgement::Trusted { .. }),
            "{judged:?}"
        );
    }
    prepared.abandon().await.expect("abandons");
    assert_eq!(tresor_files(&vm), 0);
}

/// Waits until no storage daemon holds the images any more.
async fn vm_is_free(vm: &Vm) {
    for _ in 0..600 {
        let info = Command::new("qemu-img")
            .arg("info")
            .arg(vm.path("vda.qcow2"))
            .output();
        if info.expect("qemu-img").status.success() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the images are still held");
}

/// The VM is started while its snapshot is read: it starts at once, the reader is told why, and the
/// snapshot is ended through the VM that runs.
#[tokio::test]
async fn a_start_of_the_vm_is_given_way_to() {
    let mut vm = Vm::start().await;
    let provider = provider(&vm).await;
    let first = first_point(&vm, &provider).await;
    vm.write("vda", 1, 3 * GRAIN, GRAIN).await;
    vm.quit().await;
    let (_, session) = take(&vm, &provider, &first).await;
    assert_eq!(grains(&*session, "vda").await.len(), 1);
    vm.boot().await; // panics when QEMU does not come up
    vm.write("vda", 2, 7 * GRAIN, GRAIN).await;
    let gone = read(&*session, "vda")
        .await
        .expect_err("the images are not held");
    assert_eq!(gone.kind(), ErrorKind::GaveWay, "{gone:?}");
    session.end(Outcome::Abandoned).await.expect("ends");
    assert_eq!(vm.bitmap_names("vda.qcow2").await.len(), 1);
    let (_, session) = take(&vm, &provider, &first).await;
    let changed: Vec<u64> = grains(&*session, "vda")
        .await
        .iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(
        changed,
        [3, 7],
        "nothing that either bitmap recorded is lost"
    );
    session.end(Outcome::Committed).await.expect("ends");
    assert_eq!(vm.leftovers().await, Vec::<String>::new());
}

async fn read(session: &dyn Session, disk: &str) -> Result<(), Error> {
    let reader = session.open(&stream(disk)).await?;
    reader.read(Extent::between(0, DISK)).await.map(|_| ())
}

/// The daemon is killed: its bitmaps are void, all is read, and it is said why.
#[tokio::test]
async fn a_killed_daemon_costs_the_tracking_and_says_so() {
    let mut vm = Vm::start().await;
    let provider = provider(&vm).await;
    let first = first_point(&vm, &provider).await;
    vm.quit().await;
    let (tag, session) = take(&vm, &provider, &first).await;
    kill_daemon(&vm.path("run"));
    assert!(read(&*session, "vda").await.is_err());
    drop(session);
    provider
        .release(&tag, Outcome::Abandoned)
        .await
        .expect("releases");
    provider.describe().await.expect("describes");
    let prepared = provider.prepare(vm.request(&wanted(&first))).await;
    let prepared = prepared.expect("prepares");
    match judgement(&*prepared, "vda") {
        BitmapJudgement::ReadAll { reason } => {
            assert!(reason.contains("inconsistent"), "{reason}");
        }
        trusted => panic!("{trusted:?}"),
    }
    let session = prepared.take(PauseMode::StopVm).await.expect("takes");
    session.end(Outcome::Committed).await.expect("ends");
    vm.boot().await;
    let bitmaps = vm.bitmaps("vda.qcow2").await;
    assert_eq!(bitmaps.len(), 1, "{bitmaps:?}");
    assert!(
        bitmaps[0].recording && !bitmaps[0].inconsistent,
        "{bitmaps:?}"
    );
}

/// Kills the storage daemon whose monitor lies in `run`.
fn kill_daemon(run: &Path) {
    let pattern = run.display().to_string();
    for process in std::fs::read_dir("/proc").expect("proc").flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if line.contains("storage-daemon") && line.contains(&pattern) {
            let pid = process.file_name();
            let killed = Command::new("kill").arg("-KILL").arg(pid).status();
            assert!(killed.expect("kill").success());
            return;
        }
    }
    panic!("no storage daemon");
}

/// No program, no machine, no image: each its own error, and nothing is left.
#[tokio::test]
async fn what_is_missing_is_told_apart() {
    let mut vm = Vm::start().await;
    let known = provider(&vm).await;
    let described = known.describe().await.expect("describes");
    vm.quit().await;
    let unknown = VmProvider::new(vm.config());
    let error = unknown.describe().await.expect_err("never seen");
    assert_eq!(error.kind(), ErrorKind::Unreachable);

    let without = VmProvider::new(QemuConfig {
        machine: Some(described.machine),
        storage_daemon: "/nowhere/qemu-storage-daemon".into(),
        ..vm.config()
    });
    without.describe().await.expect("describes");
    let request = vm.request(&wanted(&[]));
    let error = without.prepare(request).await.map(|_| ());
    let error = error.expect_err("there is no program");
    assert_eq!(error.kind(), ErrorKind::Host);
    assert!(error.to_string().contains("qemu-utils"), "{error}");

    std::fs::rename(vm.path("vdb.qcow2"), vm.path("away")).expect("renames");
    known.describe().await.expect("describes");
    let request = vm.request(&wanted(&[]));
    let tag = request.tag.clone();
    let error = known.prepare(request).await.map(|_| ());
    let error = error.expect_err("there is no image");
    assert_eq!(error.kind(), ErrorKind::ImageMissing);
    assert_eq!(error.path(), Some(vm.path("vdb.qcow2").as_path()));
    known
        .release(&tag, Outcome::Abandoned)
        .await
        .expect("releases");
}
